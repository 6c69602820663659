use std::fmt;

/// What a stage is and does; see [`Network::describe`](crate::Network::describe).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageDescription {
    pub(crate) name: String,
    pub(crate) shape: Vec<i64>,
    pub(crate) parameters: u64,
    pub(crate) multiply_adds: u64,
    pub(crate) packed_multiply_adds: u64,
}

impl StageDescription {
    /// The stage's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The shape of its output.
    pub fn shape(&self) -> &[i64] {
        &self.shape
    }

    /// How many of its numbers training changes; of a network rebuilt for inference, how many numbers there are in its
    /// weights and biases, those that batch norms were folded into among them.
    pub fn parameters(&self) -> u64 {
        self.parameters
    }

    /// The multiplications of its convolutions and linear layers, each with an addition.
    pub fn multiply_adds(&self) -> u64 {
        self.multiply_adds
    }

    /// Those of [`StageDescription::multiply_adds`] that are done with packed weights; see
    /// [`MemoryLayout::Packed`](crate::MemoryLayout::Packed).
    pub fn packed_multiply_adds(&self) -> u64 {
        self.packed_multiply_adds
    }
}

/// A network stage by stage; see [`Network::describe`](crate::Network::describe).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    pub(crate) stages: Vec<StageDescription>,
}

impl Description {
    /// The stages, from the image batch to the logits.
    pub fn stages(&self) -> &[StageDescription] {
        &self.stages
    }

    /// The sum of [`StageDescription::parameters`].
    pub fn parameters(&self) -> u64 {
        self.stages.iter().map(|stage| stage.parameters).sum()
    }

    /// The multiplications of all convolutions and linear layers, each with an addition.
    pub fn multiply_adds(&self) -> u64 {
        self.stages.iter().map(|stage| stage.multiply_adds).sum()
    }

    /// Those of [`Description::multiply_adds`] that are done with packed weights.
    pub fn packed_multiply_adds(&self) -> u64 {
        self.stages.iter().map(|stage| stage.packed_multiply_adds).sum()
    }
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let longest = self.stages.iter().map(|stage| stage.name.len()).max();
        let width = longest.unwrap_or(0).max("stage".len());
        writeln!(
            f,
            "{:width$}  {:>20}  {:>12}  {:>15}",
            "stage", "output", "parameters", "multiply-adds"
        )?;
        for stage in &self.stages {
            writeln!(
                f,
                "{:width$}  {:>20}  {:>12}  {:>15}",
                stage.name,
                format!("{:?}", stage.shape),
                stage.parameters,
                stage.multiply_adds
            )?;
        }
        write!(
            f,
            "{:width$}  {:>20}  {:>12}  {:>15}",
            "total",
            "",
            self.parameters(),
            self.multiply_adds()
        )
    }
}
