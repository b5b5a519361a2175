//! Opening, closing and opening again.

use chat_core::{ids::RoomNo, store::Store};

use crate::{
    kept::Kept,
    support::{fresh, host, open, room},
};

#[tokio::test]
async fn everything_is_there_when_it_is_opened_again() {
    let (database, store) = fresh().await;
    let kept = Kept::make(&store).await;
    drop(store);
    kept.assert_in(&open(database.url()).await).await;
}

#[tokio::test]
async fn the_number_of_a_deleted_room_is_never_given_again() {
    let (database, store) = fresh().await;
    assert_eq!(room(&store, "a").await, RoomNo(1));
    store.delete_room(RoomNo(1), host()).await.unwrap().unwrap();
    drop(store);
    let store = open(database.url()).await;
    assert_eq!(room(&store, "a").await, RoomNo(2));
}
