//! Recovery points of databases under load: each that claims to be a state that the disk really had is
//! restored elsewhere, opened, and compared with what its writers know to be true.
//!
//! A writer notes, outside of the protected tree, when it began each transaction and when its commit had
//! returned ([`notes`]). [`points`] chooses among the points that were made meanwhile, by seed; [`judgement`]
//! restores them, has each judged, and counts. What is judged: plain files that programs write in an order
//! that they rely on ([`order`]), SQLite in all its journal modes ([`sqlite`]), PostgreSQL ([`postgresql`]).
//!
//! And what a root with `--durable-fsync` has at the receiver when all of its source is killed at once ([`durable`]).
//!
//! `EVERWRITE_DATABASES=1` has more points judged; `EVERWRITE_FUZZY=1` judges those, too, that claim nothing,
//! and shows how many of them are bad.

mod cluster;
mod durable;
mod judgement;
mod notes;
mod order;
mod points;
mod postgresql;
mod scene;
mod sqlite;
