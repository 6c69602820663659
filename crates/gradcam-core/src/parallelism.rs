/// Whether a kernel may use several cores. The result is the same to the last bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Parallelism {
    /// rayon's current pool.
    #[default]
    Rayon,
    /// The calling thread alone.
    Serial,
}
