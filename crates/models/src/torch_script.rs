use std::cell::RefCell;
use std::path::Path;

use tch::{CModule, TchError, Tensor, nn};

use crate::cuda_library;
use crate::error::ModelError;
use crate::stage::Stage;

impl Stage {
    /// A module of TorchScript's as a stage, from a file that `torch.jit.script` or `torch.jit.trace` and `save` made.
    ///
    /// It is loaded to the device of `variables`, and its parameters are put there by their own names, so that they
    /// can be trained, checkpointed and saved like any network's. **Its buffers are not**: the running statistics of batch
    /// norms stay with the module, and one that is loaded anew beside saved parameters has the file's. Train a module
    /// with batch norms in evaluation mode, or freeze them before it is exported. A traced module computes what it
    /// computed when it was traced, in training too.
    ///
    /// A heatmap needs two: a trunk, whose output is looked into, and a head from there to the logits. Of a ResNet of
    /// torchvision's, in Python:
    ///
    /// ```python
    /// children = list(network.eval().children())
    /// torch.jit.script(torch.nn.Sequential(*children[:-2])).save("trunk.pt")
    /// torch.jit.script(torch.nn.Sequential(children[-2], torch.nn.Flatten(), children[-1])).save("head.pt")
    /// ```
    ///
    /// ```no_run
    /// use models::{Stage, StageRow};
    /// use tch::{Device, nn};
    ///
    /// let variables = nn::VarStore::new(Device::Cpu);
    /// let network = StageRow::new([
    ///     Stage::torch_script("trunk", "trunk.pt", &(variables.root() / "trunk"))?,
    ///     Stage::torch_script("head", "head.pt", &(variables.root() / "head"))?,
    /// ])?;
    /// # Ok::<(), models::ModelError>(())
    /// ```
    ///
    /// # Shapes
    /// Those of the module's `forward`, from one tensor to one.
    ///
    /// # Errors
    /// [`ModelError::TorchScript`] with the file's path. When the stage runs, libtorch's own, with the file's path too:
    /// for an input that the module cannot take, and for a module that gives something else than one tensor.
    pub fn torch_script(
        name: impl Into<String>,
        path: impl AsRef<Path>,
        variables: &nn::Path<'_>,
    ) -> Result<Self, ModelError> {
        let _ = cuda_library::load();
        let path = path.as_ref();
        let failed = |source| ModelError::TorchScript {
            path: path.to_owned(),
            source,
        };
        let mut module = CModule::load_on_device(path, variables.device()).map_err(failed)?;
        module.f_set_eval().map_err(failed)?;
        for (name, parameter) in module.named_parameters().map_err(failed)? {
            let trained = parameter.requires_grad();
            let (folder, leaf) = name.rsplit_once('.').unwrap_or(("", &name));
            let folder = folder.split('.').filter(|part| !part.is_empty());
            let place = folder.fold(variables.clone(), |place, part| place.sub(part));
            let _kept = place.add(leaf, parameter, trained);
        }
        let run = switched(module);
        let path = path.to_owned();
        Ok(Self::new(name, move |x, train| {
            run(x, train)
                .map_err(|error| TchError::Torch(format!("in the TorchScript file {}: {error}", path.display())))
        }))
    }

    /// A module of tch's, with its variables, as a stage.
    ///
    /// ```
    /// use models::{Stage, StageRow};
    /// use tch::{Device, Kind, Tensor, nn};
    ///
    /// let variables = nn::VarStore::new(Device::Cpu);
    /// let root = variables.root();
    /// let network = StageRow::new([
    ///     Stage::module("conv", nn::conv2d(&root / "conv", 3, 4, 3, Default::default())),
    ///     Stage::module("head", nn::seq().add_fn(|x| x.mean_dim([2, 3].as_slice(), false, Kind::Float))
    ///         .add(nn::linear(&root / "head", 4, 2, Default::default()))),
    /// ])?;
    /// let image = Tensor::zeros([1, 3, 8, 8], (Kind::Float, Device::Cpu));
    /// assert_eq!(network.forward(&image)?.size(), [1, 2]);
    /// # Ok::<(), models::ModelError>(())
    /// ```
    ///
    /// # Shapes
    /// Those of the module's `forward_t`.
    ///
    /// # Errors
    /// None: tch's modules have no error to give.
    ///
    /// # Panics
    /// The stage panics, when it runs, where the module's own `forward_t` does: tch's layers do so for an input of a
    /// shape that they cannot take. A closure over `f_…` calls in [`Stage::new`] gets an error instead.
    pub fn module(name: impl Into<String>, module: impl nn::ModuleT + 'static) -> Self {
        Self::new(name, move |x, train| Ok(module.forward_t(x, train)))
    }
}

/// The module as a function that is told whether it is trained. The module itself keeps that as a state.
fn switched(module: CModule) -> impl Fn(&Tensor, bool) -> Result<Tensor, TchError> + Send + 'static {
    let state = RefCell::new((module, false));
    move |x, train| {
        let (module, trained) = &mut *state.borrow_mut();
        if *trained != train {
            match train {
                true => module.f_set_train()?,
                false => module.f_set_eval()?,
            }
            *trained = train;
        }
        module.forward_ts(&[x])
    }
}
