//! Reading, splitting, drawing and batching, from small files written by the tests themselves.

mod batches;
mod files;
mod phantoms;
mod pictures;
mod splits;
mod volumes;
