//! Power loss: not the wires pulled, but the order of the steps judged by a rule
//! that knows which order survives.

use super::*;
use crate::store::steps::Step;

/// What is wrong with this order of steps, if anything. A commit may return
/// once its bytes were synced after the last of them was written and before they
/// got the object's name, and its directory after that; a new directory also in its parent.
fn verdict(steps: &[Step]) -> Result<(), String> {
    for (end, step) in steps.iter().enumerate() {
        let Step::Returned(object) = step else { continue };
        let past = &steps[..end];
        let last = |wanted: &dyn Fn(&Step) -> bool| past.iter().rposition(wanted);
        let renamed = last(&|step| matches!(step, Step::Rename { to, .. } if to == object)).ok_or("never renamed")?;
        let Step::Rename { from, .. } = &past[renamed] else { unreachable!() };
        let written = last(&|step| matches!(step, Step::Write { file, .. } if file == from));
        let synced = last(&|step| matches!(step, Step::SyncFile(file) if file == from)).ok_or("never synced")?;
        if written.is_some_and(|written| written > synced) || synced > renamed {
            return Err(format!("{object} was named before its bytes were synced"));
        }
        let (shard, _) = object.rsplit_once('/').unwrap();
        let (algorithm, _) = shard.split_once('/').unwrap();
        let directory = last(&|step| matches!(step, Step::SyncDirectory(name) if name == shard));
        if directory.is_none_or(|directory| directory < renamed) {
            return Err(format!("{object}'s name was not synced"));
        }
        // Also where another process made it: nobody knows how far that one got.
        let made = last(&|step| matches!(step, Step::MakeDirectory(name) if name == shard)).unwrap_or(0);
        if last(&|step| matches!(step, Step::SyncDirectory(name) if name == algorithm)) < Some(made) {
            return Err(format!("{object}'s directory was not synced"));
        }
        if past.contains(&Step::RemoveObject(object.clone())) {
            return Err(format!("{object} was removed"));
        }
    }
    Ok(())
}

/// I2.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_returns_only_what_a_power_cut_leaves() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let pushes = (0..60).map(|seed| {
        let store = store.clone();
        tokio::spawn(async move { push(&store, &content(seed, seed as usize * 40_000)).await })
    });
    let mut shards = std::collections::HashSet::new();
    for push in pushes.collect::<Vec<_>>() {
        shards.insert(push.await.unwrap().digest.hex()[..2].to_owned());
    }
    let steps = store.root().steps.taken();
    let returned = steps.iter().filter(|step| matches!(step, Step::Returned(_))).count();
    assert_eq!(returned, 60);
    verdict(&steps).unwrap();
    let made = steps.iter().filter(|step| matches!(step, Step::MakeDirectory(_))).count();
    assert!(made >= shards.len(), "each shard is made once it is needed");

    // A second process finds the directories there and syncs their parent once all the same.
    let second = open(directory.path());
    push(&second, &content(1, 1000)).await;
    push(&second, &content(1, 1000)).await;
    let parents = second.root().steps.taken();
    verdict(&parents).unwrap();
    assert_eq!(parents.iter().filter(|step| **step == Step::SyncDirectory("sha256".to_owned())).count(), 1);
}

/// The rule itself: any two neighbours swapped, or one step left out, where that matters.
#[tokio::test]
async fn the_rule_rejects_a_wrong_order() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    push(&store, &content(1, 1000)).await;
    let steps = store.root().steps.taken();
    verdict(&steps).unwrap();
    let essential = |step: &Step| !matches!(step, Step::Write { .. } | Step::MakeDirectory(_) | Step::Returned(_));
    for (nth, step) in steps.iter().enumerate().filter(|(_, step)| essential(step)) {
        let mut without = steps.clone();
        without.remove(nth);
        assert!(verdict(&without).is_err(), "without {step:?}");
    }
    let position = |wanted: fn(&Step) -> bool| steps.iter().position(wanted).unwrap();
    let renamed = position(|step| matches!(step, Step::Rename { .. }));
    for other in [
        position(|step| matches!(step, Step::SyncFile(_))),
        position(|step| matches!(step, Step::SyncDirectory(name) if name.len() > 6)),
    ] {
        let mut swapped = steps.clone();
        swapped.swap(renamed, other);
        assert!(verdict(&swapped).is_err(), "{:?} and {:?} swapped", steps[renamed], steps[other]);
    }
}
