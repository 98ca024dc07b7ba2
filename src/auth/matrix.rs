//! The decision table, written out beside the code that computes it: identity ×
//! membership × existence and visibility × access × what narrows.

use proptest::prelude::*;

use super::policy::{
    Access, Asker, Case, Claim, NamespaceAccess, NamespaceCase, Reach, Refusal, Sight, Token, decide, decide_claim,
    decide_management, decide_namespace, decide_user,
};
use crate::domain::{Action, Actions, Role, Visibility};

/// Columns: the place.
pub(super) const PLACES: [(Option<Visibility>, bool, Claim); 6] = [
    (Some(Visibility::Public), true, Claim::Users),
    (Some(Visibility::Internal), true, Claim::Users),
    (Some(Visibility::Private), true, Claim::Users),
    (None, true, Claim::Users),   // absent, in a claimed namespace
    (None, false, Claim::Users),  // absent, in one that any user may claim
    (None, false, Claim::Admins), // absent, in one that only an admin may claim
];

/// A row: who asks, and for each place the answers to pull, push, delete, manage, referrers.
/// `+` yes · `e` yes, but it looks empty · `c` 401 · `s` 401 insufficient_scope · `d` 403 · `h` 404 ·
/// `.....` cannot be: nobody is a member of a namespace that is nobody's.
pub(super) type Row = (Asker, Option<Role>, Reach, [&'static str; 6]);

const NONE: Reach = Reach::Granted(Actions::NONE);
const WHOLE: Reach = Reach::Whole;

/// Basic credentials, or nothing at all: design §8.
#[rustfmt::skip]
pub(super) const WITHOUT_TOKEN: [Row; 8] = [
    //                                             public   internal private  absent   unclaimed admins only
    (Asker::Anonymous, None,               WHOLE, ["+ccc+", "ccccc", "ccccc", "ccccc", "ccccc", "ccccc"]),
    (Asker::User,      None,               WHOLE, ["+ddd+", "+ddd+", "hdhhe", "hdhhe", "h+hhe", "hdhhe"]),
    (Asker::User,      Some(Role::Reader), WHOLE, ["+ddd+", "+ddd+", "+ddd+", "hdhhe", ".....", "....."]),
    (Asker::User,      Some(Role::Writer), WHOLE, ["++dd+", "++dd+", "++dd+", "h+hhe", ".....", "....."]),
    (Asker::User,      Some(Role::Owner),  WHOLE, ["+++++", "+++++", "+++++", "h+hhe", ".....", "....."]),
    (Asker::Admin,     None,               WHOLE, ["+++++", "+++++", "+++++", "h+hhe", "h+hhe", "h+hhe"]),
    (Asker::Robot,     None,               WHOLE, ["+ddd+", "+ddd+", "hdhhe", "hdhhe", "hdhhe", "hdhhe"]),
    (Asker::Robot,     Some(Role::Owner),  WHOLE, ["+++d+", "+++d+", "+++d+", "h+hhe", ".....", "....."]),
];

/// A token without scopes: the same, but whoever is nobody has shown a token.
#[rustfmt::skip]
pub(super) const UNSCOPED_ANONYMOUS: Row =
    (Asker::Anonymous, None,               WHOLE, ["+sss+", "sssss", "sssss", "sssss", "sssss", "sssss"]);

/// A token whose scopes cover the access.
#[rustfmt::skip]
pub(super) const COVERED: [Row; 8] = [
    (Asker::Anonymous, None,               WHOLE, ["+sss+", "sssss", "sssss", "sssss", "sssss", "sssss"]),
    (Asker::User,      None,               WHOLE, ["+dds+", "+dds+", "hdhse", "hdhse", "h+hse", "hdhse"]),
    (Asker::User,      Some(Role::Reader), WHOLE, ["+dds+", "+dds+", "+dds+", "hdhse", ".....", "....."]),
    (Asker::User,      Some(Role::Writer), WHOLE, ["++ds+", "++ds+", "++ds+", "h+hse", ".....", "....."]),
    (Asker::User,      Some(Role::Owner),  WHOLE, ["+++s+", "+++s+", "+++s+", "h+hse", ".....", "....."]),
    (Asker::Admin,     None,               WHOLE, ["+++s+", "+++s+", "+++s+", "h+hse", "h+hse", "h+hse"]),
    (Asker::Robot,     None,               WHOLE, ["+dds+", "+dds+", "hdhse", "hdhse", "hdhse", "hdhse"]),
    (Asker::Robot,     Some(Role::Owner),  WHOLE, ["+++s+", "+++s+", "+++s+", "h+hse", ".....", "....."]),
];

/// A token with scopes, but without this one.
#[rustfmt::skip]
pub(super) const NOT_COVERED: [Row; 8] = [
    (Asker::Anonymous, None,               WHOLE, ["sssss", "sssss", "sssss", "sssss", "sssss", "sssss"]),
    (Asker::User,      None,               WHOLE, ["sddss", "sddss", "hdhse", "hdhse", "sshss", "hdhse"]),
    (Asker::User,      Some(Role::Reader), WHOLE, ["sddss", "sddss", "sddss", "hdhse", ".....", "....."]),
    (Asker::User,      Some(Role::Writer), WHOLE, ["ssdss", "ssdss", "ssdss", "sshss", ".....", "....."]),
    (Asker::User,      Some(Role::Owner),  WHOLE, ["sssss", "sssss", "sssss", "sshss", ".....", "....."]),
    (Asker::Admin,     None,               WHOLE, ["sssss", "sssss", "sssss", "sshss", "sshss", "sshss"]),
    (Asker::Robot,     None,               WHOLE, ["sddss", "sddss", "hdhse", "hdhse", "hdhse", "hdhse"]),
    (Asker::Robot,     Some(Role::Owner),  WHOLE, ["sssss", "sssss", "sssss", "sshss", ".....", "....."]),
];

/// Access tokens whose grants name some actions here, or none.
#[rustfmt::skip]
pub(super) fn granted() -> Vec<Row> {
    let granted = |actions: &[Action]| Reach::Granted(actions.iter().copied().collect());
    let (pull, push, delete) = (Action::Pull, Action::Push, Action::Delete);
    vec![
        (Asker::User,  None,               NONE,                          ["+ddd+", "hdhhe", "hdhhe", "hdhhe", "hdhhe", "hdhhe"]),
        (Asker::User,  None,               granted(&[pull, push]),        ["+ddd+", "+ddd+", "hdhhe", "hdhhe", "h+hhe", "hdhhe"]),
        (Asker::User,  Some(Role::Owner),  NONE,                          ["+ddd+", "hdhhe", "hdhhe", "hdhhe", ".....", "....."]),
        (Asker::User,  Some(Role::Owner),  granted(&[pull]),              ["+ddd+", "+ddd+", "+ddd+", "hdhhe", ".....", "....."]),
        (Asker::User,  Some(Role::Owner),  granted(&[pull, push, delete]), ["+++d+", "+++d+", "+++d+", "h+hhe", ".....", "....."]),
        (Asker::User,  Some(Role::Writer), granted(&[pull, push, delete]), ["++dd+", "++dd+", "++dd+", "h+hhe", ".....", "....."]),
        (Asker::User,  Some(Role::Reader), granted(&[push, delete]),      ["+ddd+", "hdhhe", "hdhhe", "hdhhe", ".....", "....."]),
        (Asker::Admin, None,               granted(&[push, delete]),      ["+++d+", "h++he", "h++he", "h+hhe", "h+hhe", "h+hhe"]),
        (Asker::Robot, None,               granted(&[pull]),              ["+ddd+", "+ddd+", "hdhhe", "hdhhe", "hdhhe", "hdhhe"]),
        (Asker::Robot, None,               NONE,                          ["+ddd+", "hdhhe", "hdhhe", "hdhhe", "hdhhe", "hdhhe"]),
        (Asker::Robot, Some(Role::Owner),  granted(&[pull, push]),        ["++dd+", "++dd+", "++dd+", "h+hhe", ".....", "....."]),
        (Asker::Robot, Some(Role::Owner),  granted(&[pull, delete]),      ["+d+d+", "+d+d+", "+d+d+", "hdhhe", ".....", "....."]),
    ]
}

fn letter(access: Access, case: &Case) -> char {
    letter_of(decide(access, case))
}

pub(super) fn letter_of(answer: Result<Sight, Refusal>) -> char {
    match answer {
        Ok(Sight::Clear) => '+',
        Ok(Sight::Blank) => 'e',
        Err(Refusal::Challenge { insufficient_scope: false }) => 'c',
        Err(Refusal::Challenge { insufficient_scope: true }) => 's',
        Err(Refusal::Denied) => 'd',
        Err(Refusal::Hidden) => 'h',
    }
}

/// In the order of a row's letters.
pub(super) const ACCESSES: [Access; 5] =
    [Access::Pull, Access::Push, Access::Delete, Access::Manage, Access::Referrers];

/// Looks at every cell of the rows, for accesses of which the token says what it should; returns how many.
fn look(rows: &[Row], token: Token, applies: impl Fn(Access) -> bool) -> usize {
    let mut looked = 0;
    for &(asker, role, reach, expected) in rows {
        for ((visibility, claimed, claim), letters) in PLACES.into_iter().zip(expected) {
            let case = Case { asker, role, visibility, claimed, claim, reach, token };
            for (access, expected) in ACCESSES.into_iter().zip(letters.chars()) {
                if expected != '.' && applies(access) {
                    assert_eq!(letter(access, &case), expected, "{access:?} in {case:?}");
                    looked += 1;
                }
            }
        }
    }
    looked
}

pub(super) fn every_set_of_actions() -> impl Iterator<Item = Actions> {
    (0..8).map(|bits| Action::ALL.into_iter().filter(|&action| bits & (1 << action as u8) != 0).collect())
}

pub(super) fn covers(scope: Actions, access: Access) -> bool {
    match access {
        Access::Pull | Access::Referrers => scope.contains(Action::Pull),
        Access::Push => scope.contains(Action::Push),
        Access::Delete => scope.contains(Action::Delete),
        Access::Manage => false,
    }
}

/// R-AUZ-03, and the table of design §8.
#[test]
fn every_cell_is_decided_as_the_table_says() {
    let mut looked = look(&WITHOUT_TOKEN, Token::Absent, |_| true);
    looked += look(&WITHOUT_TOKEN[1..], Token::Unscoped, |_| true);
    looked += look(&[UNSCOPED_ANONYMOUS], Token::Unscoped, |_| true);
    looked += look(&granted(), Token::Absent, |_| true);
    looked += look(&granted(), Token::Unscoped, |_| true);
    for scope in every_set_of_actions() {
        looked += look(&COVERED, Token::Scoped(scope), |access| covers(scope, access) || access == Access::Manage);
        looked += look(&NOT_COVERED, Token::Scoped(scope), |access| !covers(scope, access));
    }
    assert_eq!(looked, 2900, "cells");
}

/// R-AUZ-01, R-AUZ-07: what a token can be granted.
#[test]
fn rights_are_what_would_be_allowed_and_creators_get_pull_and_push() {
    let case = |asker, role, visibility, claimed| Case {
        asker,
        role,
        visibility,
        claimed,
        claim: Claim::Users,
        reach: Reach::Whole,
        token: Token::Absent,
    };
    let rights = |case: Case| case.rights().to_string();
    let private = Some(Visibility::Private);
    for (case, expected) in [
        (case(Asker::Anonymous, None, Some(Visibility::Public), true), "pull"),
        (case(Asker::Anonymous, None, Some(Visibility::Internal), true), ""),
        (case(Asker::Anonymous, None, None, false), ""),
        (case(Asker::User, None, private, true), ""),
        (case(Asker::User, Some(Role::Reader), private, true), "pull"),
        (case(Asker::User, Some(Role::Writer), private, true), "pull,push"),
        (case(Asker::User, Some(Role::Owner), private, true), "pull,push,delete"),
        (case(Asker::User, Some(Role::Reader), None, true), ""),
        (case(Asker::User, Some(Role::Writer), None, true), "pull,push"),
        (case(Asker::User, Some(Role::Owner), None, true), "pull,push"),
        (case(Asker::User, None, None, false), "pull,push"),
        (case(Asker::User, None, None, true), ""),
        (case(Asker::Admin, None, None, true), "pull,push"),
        (case(Asker::Robot, None, None, false), ""),
    ] {
        assert_eq!(rights(case), expected, "{case:?}");
    }
}

/// Columns: nobody's; somebody's. Letters: view, manage.
#[rustfmt::skip]
const NAMESPACES: [(Asker, Option<Role>, bool, [&str; 2]); 9] = [
    (Asker::Anonymous, None,               true,  ["cc", "cc"]),
    (Asker::User,      None,               true,  ["hh", "hh"]),
    (Asker::User,      Some(Role::Reader), true,  ["..", "+d"]),
    (Asker::User,      Some(Role::Writer), true,  ["..", "+d"]),
    (Asker::User,      Some(Role::Owner),  true,  ["..", "++"]),
    (Asker::User,      Some(Role::Owner),  false, ["..", "dd"]),
    (Asker::Admin,     None,               true,  ["hh", "++"]),
    (Asker::Admin,     None,               false, ["dd", "dd"]),
    (Asker::Robot,     Some(Role::Owner),  true,  ["..", "dd"]),
];

#[test]
fn a_namespace_is_seen_by_members_and_managed_by_owners() {
    for (asker, role, whole, columns) in NAMESPACES {
        for (claimed, letters) in [false, true].into_iter().zip(columns) {
            let accesses = [NamespaceAccess::View, NamespaceAccess::Manage];
            for (access, expected) in accesses.into_iter().zip(letters.chars()).filter(|&(_, letter)| letter != '.') {
                let case = NamespaceCase { asker, role, claimed, whole, token: Token::Absent };
                let answer = match decide_namespace(access, &case) {
                    Ok(()) => '+',
                    Err(Refusal::Challenge { .. }) => 'c',
                    Err(Refusal::Denied) => 'd',
                    Err(Refusal::Hidden) => 'h',
                };
                assert_eq!(answer, expected, "{access:?} in {case:?}");
                // A scope for repositories opens no management.
                let scoped = NamespaceCase { token: Token::Scoped(Actions::ALL), ..case };
                assert_eq!(decide_namespace(access, &scoped), Err(Refusal::Challenge { insufficient_scope: true }));
            }
        }
    }
    assert_eq!(decide_management(Asker::User, true, Token::Unscoped), Ok(()));
}

#[test]
fn accounts_are_their_users_and_the_admins() {
    let challenge = |insufficient_scope| Err(Refusal::Challenge { insufficient_scope });
    for own in [false, true] {
        for (asker, whole, token, expected) in [
            (Asker::Anonymous, true, Token::Absent, challenge(false)),
            (Asker::Anonymous, true, Token::Unscoped, challenge(true)),
            (Asker::User, true, Token::Unscoped, if own { Ok(()) } else { Err(Refusal::Denied) }),
            (Asker::User, true, Token::Scoped(Actions::ALL), challenge(true)),
            (Asker::User, false, Token::Absent, Err(Refusal::Denied)),
            (Asker::Admin, true, Token::Absent, Ok(())),
            (Asker::Admin, true, Token::Scoped(Actions::ALL), challenge(true)),
            (Asker::Admin, false, Token::Absent, Err(Refusal::Denied)),
            (Asker::Robot, true, Token::Absent, Err(Refusal::Denied)),
        ] {
            assert_eq!(decide_user(asker, whole, token, own), expected, "{asker:?} {whole} {token:?} {own}");
        }
    }
}

#[test]
fn a_namespace_is_claimed_by_users_or_by_admins() {
    for (asker, users, admins) in [
        (Asker::User, Ok(()), Err(Refusal::Denied)),
        (Asker::Admin, Ok(()), Ok(())),
        (Asker::Robot, Err(Refusal::Denied), Err(Refusal::Denied)),
    ] {
        assert_eq!(decide_claim(asker, true, Token::Absent, Claim::Users), users);
        assert_eq!(decide_claim(asker, true, Token::Absent, Claim::Admins), admins);
        assert_eq!(decide_claim(asker, false, Token::Absent, Claim::Users), Err(Refusal::Denied));
    }
}

fn any_actions() -> impl Strategy<Value = Actions> {
    proptest::sample::select(every_set_of_actions().collect::<Vec<_>>())
}

prop_compose! {
    /// A case that can be: nobody and admins have no role to speak of, and members have a namespace.
    fn any_case()(
        asker in proptest::sample::select(vec![Asker::Anonymous, Asker::User, Asker::Admin, Asker::Robot]),
        role in proptest::option::of(proptest::sample::select(Role::ALL.to_vec())),
        visibility in proptest::option::of(proptest::sample::select(Visibility::ALL.to_vec())),
        claimed in any::<bool>(),
        claim in proptest::sample::select(vec![Claim::Users, Claim::Admins]),
        reach in prop_oneof![Just(Reach::Whole), any_actions().prop_map(Reach::Granted)],
        token in prop_oneof![Just(Token::Absent), Just(Token::Unscoped), any_actions().prop_map(Token::Scoped)],
    ) -> Case {
        let role = role.filter(|_| asker != Asker::Anonymous);
        let claimed = claimed || role.is_some() || visibility.is_some();
        let (reach, token) = if asker == Asker::Anonymous { (Reach::Whole, token) } else { (reach, token) };
        Case { asker, role, visibility, claimed, claim, reach, token }
    }
}

fn any_access() -> impl Strategy<Value = Access> {
    proptest::sample::select(ACCESSES.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    /// What a token or a grant lets through, its identity may do without it.
    #[test]
    fn a_token_never_widens(case in any_case(), access in any_access(), less in any_actions()) {
        let bare = Case { token: Token::Absent, reach: Reach::Whole, ..case };
        if decide(access, &case) == Ok(Sight::Clear) {
            prop_assert_eq!(decide(access, &bare), Ok(Sight::Clear));
        }
        if let Token::Scoped(scope) = case.token {
            let narrower = Case { token: Token::Scoped(scope.intersection(less)), ..case };
            if decide(access, &narrower) == Ok(Sight::Clear) {
                prop_assert_eq!(decide(access, &case), Ok(Sight::Clear));
            }
        }
        prop_assert_eq!(case.rights().intersection(bare.rights()), case.rights());
    }

    /// A credential without any grant here can do what nobody can do, and no more.
    #[test]
    fn a_grant_elsewhere_opens_nothing_here(case in any_case(), access in any_access()) {
        let elsewhere = Case { reach: Reach::Granted(Actions::NONE), token: Token::Absent, ..case };
        let nobody = Case { asker: Asker::Anonymous, role: None, ..elsewhere };
        prop_assert_eq!(decide(access, &elsewhere) == Ok(Sight::Clear), decide(access, &nobody) == Ok(Sight::Clear));
    }

    /// I4: to nobody, private, internal and absent are one; nor is a private repository told from
    /// an absent one by somebody who has nothing to do with its namespace.
    #[test]
    fn nobody_sees_private_and_strangers_cannot_tell_it_from_absent(case in any_case(), access in any_access()) {
        let anonymous = Case { asker: Asker::Anonymous, role: None, reach: Reach::Whole, ..case };
        if anonymous.visibility != Some(Visibility::Public) {
            let refused = Err(Refusal::Challenge { insufficient_scope: case.token != Token::Absent });
            prop_assert_eq!(decide(access, &anonymous), refused);
        }
        for asker in [Asker::User, Asker::Robot] {
            let stranger = Case { asker, role: None, claimed: true, visibility: Some(Visibility::Private), ..case };
            let absent = Case { visibility: None, ..stranger };
            prop_assert_eq!(decide(access, &stranger), decide(access, &absent));
            prop_assert!(decide(access, &stranger) != Ok(Sight::Clear));
        }
    }

    /// An admin's whole credential is never denied, and refused only what is not there.
    #[test]
    fn an_admin_is_never_denied(case in any_case(), access in any_access(), scoped in any::<bool>()) {
        let token = if scoped { Token::Unscoped } else { Token::Absent };
        let admin = Case { asker: Asker::Admin, reach: Reach::Whole, token, ..case };
        let answer = decide(access, &admin);
        let expected = match (admin.visibility, access) {
            (Some(_), _) | (None, Access::Push) => Ok(Sight::Clear),
            (None, Access::Referrers) => Ok(Sight::Blank),
            (None, _) => Err(Refusal::Hidden),
        };
        prop_assert_eq!(answer, expected);
    }

    /// R-AUZ-04, R-AUZ-08: whom another token cannot help is not sent for one.
    #[test]
    fn a_known_identity_is_challenged_only_for_want_of_scope(case in any_case(), access in any_access()) {
        if case.asker != Asker::Anonymous && !matches!(case.token, Token::Scoped(_)) {
            prop_assert!(!is_challenge(decide(access, &case)));
        }
        // Whoever fetches the token that the challenge asks for is not challenged again.
        let challenged = is_challenge(decide(access, &case)) && case.asker != Asker::Anonymous;
        if let (true, Some(action)) = (challenged, action(access)) {
            let granted = case.rights().intersection(action.into());
            let again = Case { token: Token::Scoped(granted), ..case };
            prop_assert!(!is_challenge(decide(access, &again)));
        }
    }
}

fn is_challenge(answer: Result<Sight, Refusal>) -> bool {
    matches!(answer, Err(Refusal::Challenge { .. }))
}

fn action(access: Access) -> Option<Action> {
    match access {
        Access::Pull | Access::Referrers => Some(Action::Pull),
        Access::Push => Some(Action::Push),
        Access::Delete => Some(Action::Delete),
        Access::Manage => None,
    }
}
