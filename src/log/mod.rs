//! The log: an append-only file format with one writer, made for events that are kept until somebody
//! else has them. The spool and the embedded store are its two users.
//!
//! # The files
//! A folder of segments, `000000000001.log` and so on, and of `spare-N` files that become segments.
//! A segment is a header of 4 KiB ([`format::Header`]) and batches, each of which begins at a 4 KiB
//! boundary: a head ([`format::BatchHead`]), items that mean something to the log's user, and records,
//! each with its sequence, its length and a checksum. The first batch of a segment is a snapshot of
//! its user's whole state, so that a start reads that segment and nothing before it.
//!
//! # The rules
//! 1. A batch is a group commit: one write, one `fdatasync`, then the answers. It is padded to
//!    4 KiB, so no acknowledged byte lies in a block that is written again. A batch never spans
//!    segments.
//! 2. Batch k+1 is written only after the sync of k has returned. Every batch carries the salt of
//!    its segment's present use, a number that rises over the life of the log, and the statement of
//!    where the last segment with acknowledged batches ended. *Evidence* that a batch was
//!    acknowledged is a later head in its segment, or such a statement. What does not check is
//!    *damage* where there is evidence: its sound records are delivered, the others are counted
//!    exactly. Without evidence it was *torn*: nobody was answered, and it is dropped.
//! 3. What a start reads at the end need not be on the disk. The records of the last batch without
//!    evidence are written anew, with their sequences, as the first batch of a fresh segment, which
//!    also states that the old one ended before that batch, whatever it held: the state it led to is
//!    in the snapshot. Until its sync has returned nothing of the records is delivered, counted, or
//!    makes a duplicate.
//! 4. A write or sync that fails ends the segment at its last acknowledged batch. The next batch goes
//!    to a fresh segment; where its first batch fails as well, the same file is used again. Nothing
//!    is copied, nothing is synced twice, and a sequence once written is never given again.
//! 5. What was found is an item of the log: a loss stands in a batch and in every snapshot after it,
//!    so no crash, second start or look at the files loses or repeats its count.
//! 6. The log decides about ids. An index of them is entered only from durable batches, and a hit
//!    counts only if its sequence is in no lost range.
//! 7. A file called spare holds nothing acknowledged. A segment's header is synced under the spare's
//!    name; then it is renamed, then the folder is synced, then its first batch is written. A
//!    segment is recycled the other way round: renamed, folder synced, and only then overwritten.
//! 8. A segment is recycled only when a synced batch says that nothing in it is waited for, and a
//!    later snapshot does without it. The segment before the active one stays, so that there are
//!    always two snapshots.
//! 9. Letting go needs no space: new events are taken only while a spare is ready, so that progress
//!    always has somewhere to go. Whether there is space is decided by whether a spare can be made.
//! 10. Nothing is done on the answer's path that is not the batch: spares, the index of ids,
//!     recycling and copies are made by another thread, in slices.
//! 11. Every queue and cache is bounded in bytes, and admits one largest item when it is empty.
//!
//! # What is not in the format, and why
//! There is no table of the records' lengths in a batch: a record begins at an 8-byte boundary and
//! checks by itself, so a scan finds every sound one behind any damage, and no sector is worth more
//! than what lies in it. There is no footer: what one would say is in the next segment's snapshot.

pub mod codec;
pub mod disk;
pub mod format;
pub mod index;
pub mod lock;
pub mod position;
pub mod recover;
pub mod scan;
pub mod segment;
pub mod segment_file;
pub mod unused_segment;
pub mod writer;
