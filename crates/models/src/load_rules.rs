/// What to do with a head, the layer with one output per class, that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Head {
    /// It must fit like every other layer.
    #[default]
    Exact,
    /// It keeps the network's fresh weights unless the whole of it fits: where the file's is of another class count, has no
    /// bias or is made of several layers (`fc.0`, `fc.3`), and where the file has none at all. The head is that one layer: of
    /// other layers before it, as in a VGG's `classifier`, every one must fit.
    Replace,
}

/// What to do with weights for three channels where the network takes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stem {
    /// They do not fit.
    #[default]
    Exact,
    /// They are summed over the channels: W₁[o, 0, i, j] = Σ_c W₃[o, c, i, j]. A grey image then
    /// gives in one channel what it gives repeated in three, if all three are normalised alike.
    Summed,
}

/// How the tensors of a weights file go to the variables of a network.
///
/// The rules apply in this order: the entry of the file, prefixes stripped, tensors passed over, by the names that the file
/// then has; older names of torchvision's made today's, the head replaced, the stem summed. By default every tensor must fit as it is. A bare [`Head`] will do
/// where nothing else is asked for.
///
/// ```
/// use models::{Head, LoadRules, Stem};
///
/// // {"epoch": 90, "model": {"module.backbone.conv1.weight": …, "module.projector.0.weight": …}}
/// let rules = LoadRules::default()
///     .with_entry("model")
///     .with_stripped("module")
///     .with_stripped("backbone")
///     .with_passed_over("projector")
///     .with_stem(Stem::Summed)
///     .with_head(Head::Replace);
/// assert_ne!(rules, Head::Replace.into());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LoadRules {
    pub(crate) head: Head,
    pub(crate) stem: Stem,
    pub(crate) entry: Option<String>,
    stripped: Vec<String>,
    passed_over: Vec<String>,
}

impl LoadRules {
    /// What to do with a head that does not fit.
    pub fn with_head(mut self, head: Head) -> Self {
        self.head = head;
        self
    }

    /// What to do with weights for three channels where the network takes one.
    pub fn with_stem(mut self, stem: Stem) -> Self {
        self.stem = stem;
        self
    }

    /// The tensors are those of this entry of a `.pth` file's outer dictionary.
    pub fn with_entry(mut self, entry: impl Into<String>) -> Self {
        self.entry = Some(entry.into());
        self
    }

    /// Names that begin with the module path `prefix` lose it. Of several prefixes each is taken off
    /// once, in the order in which they were given.
    pub fn with_stripped(mut self, prefix: impl Into<String>) -> Self {
        self.stripped.push(prefix.into());
        self
    }

    /// Tensors of this module, by its path once prefixes are stripped, are not asked for in the
    /// network. What the network has must be in the file nonetheless.
    pub fn with_passed_over(mut self, module: impl Into<String>) -> Self {
        self.passed_over.push(module.into());
        self
    }

    /// The name that a file's tensor has once the prefixes are stripped.
    pub(crate) fn strip<'a>(&self, name: &'a str) -> &'a str {
        self.stripped
            .iter()
            .fold(name, |name, prefix| below(name, prefix).unwrap_or(name))
    }

    /// Whether a tensor is not asked for in the network.
    pub(crate) fn passes_over(&self, name: &str) -> bool {
        // torch counts batches in batch norms; nothing reads the count.
        name.ends_with(".num_batches_tracked") || self.passed_over.iter().any(|module| below(name, module).is_some())
    }
}

impl From<Head> for LoadRules {
    fn from(head: Head) -> Self {
        Self::default().with_head(head)
    }
}

/// The rest of a name that lies in a module.
pub(crate) fn below<'a>(name: &'a str, module: &str) -> Option<&'a str> {
    name.strip_prefix(module.trim_end_matches('.'))?.strip_prefix('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_module_paths_and_come_off_once() {
        let rules = LoadRules::default().with_stripped("module").with_stripped("backbone.");
        for (name, stripped) in [
            ("module.backbone.conv1.weight", "conv1.weight"),
            ("backbone.conv1.weight", "conv1.weight"),
            ("conv1.weight", "conv1.weight"),
            ("modules.conv1.weight", "modules.conv1.weight"),
            ("module.module.weight", "module.weight"),
            ("backbone.module.weight", "module.weight"),
            ("module", "module"),
        ] {
            assert_eq!(rules.strip(name), stripped);
        }
    }

    #[test]
    fn only_whole_modules_are_passed_over() {
        let rules = LoadRules::default().with_passed_over("aux1");
        assert!(rules.passes_over("aux1.conv.weight"));
        assert!(rules.passes_over("bn1.num_batches_tracked"));
        assert!(!rules.passes_over("aux10.conv.weight"));
        assert!(!rules.passes_over("aux1"));
        assert!(!LoadRules::default().with_passed_over("").passes_over("conv1.weight"));
    }
}
