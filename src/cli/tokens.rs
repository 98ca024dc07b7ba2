//! `distribution token`: what people and machines log in with besides passwords.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Subcommand;
use secrecy::ExposeSecret;

use crate::auth::{NewSecret, RobotName};
use crate::config::Flags;
use crate::domain::{Grant, Namespace, TokenName, Username};
use crate::metadata::{
    AccessToken, CreateTokenError, Metadata, NewToken, Origin, Timestamp, TokenId, TokenKind, TokenOwner,
};

use super::Error;
use super::database::{Session, all, with_existing};
use super::output::{Format, Table, maybe, moment, say};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Makes a personal token of a user, or a robot of a namespace, and shows its secret once.
    Create {
        #[command(flatten)]
        owner: Owner,
        /// What it is called; a robot logs in as NAMESPACE+NAME.
        #[arg(long)]
        name: Box<str>,
        /// How far it reaches, such as `repository:team/app:pull,push` or `namespace:team:pull`; `*` is everything
        /// that its owner may do. May be given several times.
        #[arg(long = "scope", value_name = "SCOPE", required = true)]
        grants: Vec<Grant>,
        /// After how many days it ends; without it, it does not.
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36_500))]
        expires_in_days: Option<u32>,
    },
    /// Lists the tokens of a user, or the robots of a namespace.
    List {
        #[command(flatten)]
        owner: Owner,
        #[command(flatten)]
        format: Format,
    },
    /// Revokes a token, and what was issued for it.
    Revoke {
        /// As `token list` shows it.
        id: i64,
    },
}

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct Owner {
    /// Whose personal tokens.
    #[arg(long)]
    user: Option<Username>,
    /// Whose robots.
    #[arg(long)]
    namespace: Option<Namespace>,
}

pub(super) fn run(flags: Flags, command: Command) -> Result<(), Error> {
    with_existing(flags, async move |session| match command {
        Command::Create { owner, name, grants, expires_in_days } => {
            create(session, owner, name, grants, expires_in_days.map(in_days)).await
        }
        Command::List { owner, format } => list(session, owner, &format).await,
        Command::Revoke { id } => {
            if !session.metadata.revoke_token(TokenId::from_number(id), Origin::system()).await? {
                return Err(Error::NoToken(id));
            }
            say(&format!("token {id} is revoked"))
        }
    })
}

/// So many days from now.
#[expect(clippy::disallowed_methods, reason = "a subcommand is where the system may be asked for the time")]
fn in_days(days: u32) -> Timestamp {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(0).after(now + Duration::from_secs(u64::from(days) * 86_400))
}

async fn create(
    session: &Session,
    owner: Owner,
    name: Box<str>,
    grants: Vec<Grant>,
    expires_at: Option<Timestamp>,
) -> Result<(), Error> {
    let (kind, owner, login) = match owner {
        Owner { namespace: Some(namespace), .. } => {
            session.namespace(&namespace).await?;
            let login = RobotName::new(namespace.clone(), &name)?.to_string();
            if let Some(outside) = grants.iter().find(|grant| !grant.is_within(&namespace)) {
                return Err(Error::RobotScope { grant: outside.clone(), namespace });
            }
            (TokenKind::Robot, TokenOwner::Namespace(namespace), login)
        }
        Owner { user, namespace: None } => {
            let user = user.ok_or(CreateTokenError::UnknownOwner)?;
            name.parse::<TokenName>()?;
            (TokenKind::Personal, TokenOwner::User(session.user(&user).await?.id), user.to_string())
        }
    };
    let NewSecret { secret, hash } = NewSecret::generate(kind)?;
    let token = NewToken { kind, name, owner, grants, secret: hash, parent: None, client: None, expires_at };
    let token = session.metadata.create_token(token, Origin::system()).await?;
    say(&format!("token {}\nusername: {login}\npassword: {}", token.id.get(), secret.expose_secret()))
}

async fn list(session: &Session, owner: Owner, format: &Format) -> Result<(), Error> {
    let kinds = match owner {
        Owner { user: Some(name), .. } => {
            let user = TokenOwner::User(session.user(&name).await?.id);
            vec![(user.clone(), TokenKind::Personal), (user, TokenKind::Refresh)]
        }
        Owner { namespace: Some(name), .. } => {
            session.namespace(&name).await?;
            vec![(TokenOwner::Namespace(name), TokenKind::Robot)]
        }
        Owner { user: None, namespace: None } => Vec::new(),
    };
    let mut table = Table::new(["id", "kind", "name", "scopes", "created", "expires", "last used"]);
    for (owner, kind) in kinds {
        add(&mut table, &session.metadata, &owner, kind).await?;
    }
    table.print(format)
}

async fn add(table: &mut Table<7>, metadata: &Metadata, owner: &TokenOwner, kind: TokenKind) -> Result<(), Error> {
    let word = match kind {
        TokenKind::Personal => "personal",
        TokenKind::Robot => "robot",
        TokenKind::Refresh => "refresh",
    };
    for token in all(async |last: Option<&AccessToken>, count| {
        metadata.tokens(owner, kind, last.map(|last| last.id), count).await
    })
    .await?
    {
        let grants: Vec<_> = token.grants.iter().map(ToString::to_string).collect();
        table.push([
            token.id.get().to_string(),
            word.to_owned(),
            if kind == TokenKind::Refresh { maybe(token.client) } else { token.name.into() },
            grants.join(" "),
            moment(token.created_at),
            maybe(token.expires_at.map(moment)),
            maybe(token.last_used_at.map(moment)),
        ]);
    }
    Ok(())
}
