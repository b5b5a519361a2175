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

-- `kind` is `EventKind::number`. What people wrote stands in `bodies`.
CREATE TABLE events (
    room      INTEGER NOT NULL,
    seq       INTEGER NOT NULL,
    at        INTEGER NOT NULL,
    author    TEXT NOT NULL,
    kind      INTEGER NOT NULL,
    target    INTEGER,              -- the message that is answered, edited, deleted or reacted to
    key       TEXT,                 -- message
    body      INTEGER,              -- message, edited: its own row of `bodies`
    edited_body INTEGER,            -- message: the row of its newest `edited` event
    edited_seq INTEGER,             -- message: its newest `edited` event
    edited_at INTEGER,
    deleted   INTEGER NOT NULL,     -- message
    subject   TEXT,                 -- reaction: the emoji; member: the user
    change    TEXT,                 -- reaction: set, removed; member: added, role, removed, banned
    role      TEXT,                 -- member: added, role
    PRIMARY KEY (room, seq)
) STRICT, WITHOUT ROWID;

-- Texts, apart from their events so that a deleted one leaves no bytes behind.
--
-- When SQLite splits or merges pages, it copies rows and leaves the old bytes where they stood, `secure_delete` or not.
-- Rows of this table are never moved by a message: new ones are put at the end, an edit is a row of its own, and a
-- deletion sets NULL in place, which neither splits nor merges. (Only where whole rooms are deleted or trimmed can pages
-- be merged, and a copy of a neighbour stay until the page is used again.)
-- Counting and filtering events also read a fourth of the pages without the texts.
CREATE TABLE bodies (
    id   INTEGER PRIMARY KEY,
    text TEXT,                      -- NULL once deleted, and of a message once edited
    meta TEXT                       -- message: JSON, NULL once deleted
) STRICT;

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
