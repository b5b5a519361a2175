-- Rooms and their timelines.

-- AUTOINCREMENT: the number of a deleted room is never given again.
-- `state` can be long and stands last, so that a new `last_seq` seldom moves it.
CREATE TABLE rooms (
    no          INTEGER PRIMARY KEY AUTOINCREMENT,
    first_seq   INTEGER NOT NULL,
    last_seq    INTEGER NOT NULL,
    version     INTEGER NOT NULL,
    private_seq INTEGER,            -- the event that last turned it from public to private
    created_at  INTEGER NOT NULL,   -- milliseconds since the Unix epoch, as every `at`
    id          TEXT NOT NULL UNIQUE,
    epoch       TEXT NOT NULL,
    kind        TEXT NOT NULL,
    visibility  TEXT NOT NULL,
    name        TEXT NOT NULL,
    topic       TEXT NOT NULL,
    state       TEXT                -- JSON
) STRICT;

CREATE INDEX rooms_public ON rooms (id) WHERE visibility = 'public';

-- How many rooms there are: counting 100,000 for each new one takes milliseconds.
CREATE TABLE totals (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    rooms    INTEGER NOT NULL
) STRICT;

INSERT INTO totals VALUES (1, 0);

-- A message's row has its newest text. `kind` is `EventKind::number`.
CREATE TABLE events (
    room      INTEGER NOT NULL,
    seq       INTEGER NOT NULL,
    at        INTEGER NOT NULL,
    author    TEXT NOT NULL,
    kind      INTEGER NOT NULL,
    target    INTEGER,              -- the message that is answered, edited, deleted or reacted to
    key       TEXT,                 -- message
    text      TEXT,                 -- message, edited: NULL once deleted
    meta      TEXT,                 -- message: JSON, NULL once deleted
    edited_seq INTEGER,             -- message: its newest `edited` event
    edited_at INTEGER,
    subject   TEXT,                 -- reaction: the emoji; member: the user
    change    TEXT,                 -- reaction: set, removed; member: added, role, removed, banned
    role      TEXT,                 -- member: added, role
    PRIMARY KEY (room, seq)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX events_by_key ON events (room, author, key) WHERE key IS NOT NULL;
CREATE INDEX events_edits ON events (room, target) WHERE kind = 2;

-- What `room` events tell; NULL stayed as it was.
CREATE TABLE room_changes (
    room       INTEGER NOT NULL,
    seq        INTEGER NOT NULL,
    name       TEXT,
    topic      TEXT,
    visibility TEXT,
    state      TEXT,
    PRIMARY KEY (room, seq)
) STRICT, WITHOUT ROWID;

-- What each user last did with each emoji under a message that is not deleted.
CREATE TABLE reactions (
    room    INTEGER NOT NULL,
    target  INTEGER NOT NULL,
    emoji   TEXT NOT NULL,
    user    TEXT NOT NULL,
    seq     INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    removed INTEGER NOT NULL,
    PRIMARY KEY (room, target, emoji, user)
) STRICT, WITHOUT ROWID;

-- Everybody of whom a `member` event ever told. Who is no member any more stays, with what ended the right to read.
CREATE TABLE members (
    room     INTEGER NOT NULL,
    user     TEXT NOT NULL,
    role     TEXT,                  -- NULL: no member
    banned   INTEGER NOT NULL,
    seq      INTEGER NOT NULL,      -- the newest `member` event
    lost_seq INTEGER,               -- the event that ended the right to read; says nothing while they may read
    PRIMARY KEY (room, user)
) STRICT, WITHOUT ROWID;

CREATE INDEX members_by_user ON members (user, room) WHERE role IS NOT NULL;

CREATE TABLE read_marks (
    room INTEGER NOT NULL,
    user TEXT NOT NULL,
    seq  INTEGER NOT NULL,
    PRIMARY KEY (room, user)
) STRICT, WITHOUT ROWID;
