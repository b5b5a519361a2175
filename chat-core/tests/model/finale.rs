//! When everything has come to rest: nobody is owed anything, and everybody has everything.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use chat_core::protocol::{Codec, HistoryFrom, HistoryQuery};
use chat_core::{Identity, Seq};

use crate::{
    client::{Checked, ensure},
    ledger::{Asked, join, query},
    plan::{ROOMS, USERS},
    timeline::From,
    world::{World, id},
};

/// Longer than everything that the engine puts off, and than any lag adds up to.
const QUIET: Duration = Duration::from_secs(20);

pub(crate) async fn finish(world: &mut World) -> Checked {
    (0..world.peers.len()).for_each(|conn| world.wake(conn));
    world.rest(QUIET).await?;
    ensure!(world.is_answered(), "a call has no answer");
    at_rest(world)?;
    world.engine.settle().await;
    read_marks(world).await?;
    newcomers(world).await?;
    pages(world).await
}

fn at_rest(world: &World) -> Checked {
    let journal = world.journal.lock().unwrap();
    for peer in &world.peers {
        let client = &peer.client;
        ensure!(peer.is_idle(), "{} is not idle", client.user);
        ensure!(client.owed.values().all(VecDeque::is_empty), "unanswered: {:?}", client.owed);
        for (room, stint) in &client.stints {
            let today = journal.today(room).filter(|today| today.epoch == stint.epoch);
            let today = today.ok_or_else(|| format!("{} is in {room}, which is gone", client.user))?;
            ensure!(today.role(client.user).is_some(), "{} is still in {room}", client.user);
            let (has, last) = (stint.position, today.last());
            ensure!(has == last, "{} has {room} up to {has} of {last}", client.user);
        }
    }
    Ok(())
}

async fn read_marks(world: &World) -> Checked {
    for (index, room) in ROOMS.iter().enumerate() {
        for user in USERS {
            let Ok(view) = world.engine.room(&Identity::new(user).unwrap(), &id(index)).await else {
                continue;
            };
            let key = (view.room.epoch.as_str().to_owned(), user.to_owned());
            let mark = world.journal.lock().unwrap().marks.get(&key).copied().unwrap_or_default();
            ensure!(view.read >= Seq(mark), "{user} read {room} up to {mark}, kept is {}", view.read);
            ensure!(view.read <= view.room.last_seq, "{user} read {room} past its end");
        }
    }
    Ok(())
}

/// Everybody comes once more and reads everything.
async fn newcomers(world: &mut World) -> Checked {
    for (user, codec) in USERS.into_iter().zip(Codec::ALL.into_iter().cycle()) {
        let conn = world.connect(user, codec);
        for room in ROOMS {
            let mut there: BTreeSet<&str> = world
                .peers
                .iter()
                .filter(|peer| peer.client.stints.contains_key(room))
                .map(|peer| peer.client.user)
                .collect();
            there.insert(user);
            let today = world.journal.lock().unwrap().today(room);
            let (after, epoch) = today.map(|today| (today.first - 1, today.epoch.clone())).unzip();
            world.ask(conn, room, join(after, epoch.as_deref()), Asked::Join { after, epoch });
            world.rest(QUIET).await?;
            if let Some(stint) = world.peers[conn].client.stints.get(room) {
                let online: BTreeSet<&str> = stint.online.iter().filter_map(|user| user.as_str()).collect();
                ensure!(online == there, "{there:?} are in {room}, {online:?} are said to be");
            }
        }
    }
    at_rest(world)
}

/// Pages from everywhere, in all directions.
async fn pages(world: &World) -> Checked {
    for (index, room) in ROOMS.iter().enumerate() {
        let Some(today) = world.journal.lock().unwrap().today(room) else { continue };
        let reader = USERS.into_iter().find(|user| today.role(user).is_some());
        let Some(reader) = reader else { continue };
        let who = Identity::new(reader).unwrap();
        let edges = (0..=today.last() + 2).flat_map(|seq| [From::Before(seq), From::After(seq)]);
        for (from, limit) in edges.chain([From::Newest]).flat_map(|from| [(from, Some(2)), (from, None)]) {
            let wanted = HistoryQuery {
                from: match from {
                    From::Newest => HistoryFrom::Newest,
                    From::Before(seq) => HistoryFrom::Before(Seq(seq)),
                    From::After(seq) => HistoryFrom::After(Seq(seq)),
                },
                limit,
                ..HistoryQuery::default()
            };
            let page = world.engine.history(&who, &id(index), &wanted).await.map_err(|e| e.to_string())?;
            let (seqs, more) = today.page(&query(from, limit, &[]));
            let expected = seqs.iter().filter_map(|seq| today.entry(*seq)).map(|entry| entry.shown(reader));
            let events = page.events.iter().map(|event| serde_json::to_value(event).unwrap());
            ensure!(events.eq(expected) && page.more == more, "{room}, {from:?}, {limit:?}: {page:?}");
        }
    }
    Ok(())
}
