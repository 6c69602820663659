//! A reader of the few pickles that a state dict is made of.
//!
//! A pickle is a program for a small stack machine, and Python's machine can be told to call any
//! function. This one knows the instructions that `torch.save` writes for dictionaries, lists, numbers,
//! names and tensors, and the few functions that rebuild tensors, which it understands and does not call; everything
//! else is refused by name. Values live in one arena and refer to each other by index, so a deep or circular
//! pickle costs no recursion, and their number is limited, so a small file cannot ask for much memory.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::rc::Rc;

use tch::Kind;

use super::fault::StateDictFault;

/// Values that a pickle may make. A state dict has about thirty for each tensor.
const MAX_VALUES: usize = 1 << 22;
/// Bytes that one string may have.
const MAX_TEXT: usize = 1 << 16;
/// Bytes that the whole pickle may have.
const MAX_BYTES: usize = 1 << 26;
/// Arguments that a call may have.
const MAX_ARGUMENTS: usize = 8;
/// Axes that a tensor may have.
const MAX_AXES: usize = 16;

/// The place of a [`Value`] in its [`Pickle`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Id(u32);

#[derive(Debug, Clone)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    Float,
    Text(Rc<str>),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global(Global),
    /// A storage's numbers from this one on; torch before 0.4 had storages that begin within others.
    Storage(Rc<Storage>, i64),
    Tensor(Rc<View>),
}

impl Value {
    /// What the value is, in words.
    pub(super) fn describe(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool(_) => "a truth value",
            Self::Int(_) => "an integer",
            Self::Float => "a number",
            Self::Text(_) => "a string",
            Self::Tuple(_) => "a tuple",
            Self::List(_) => "a list",
            Self::Dict(_) => "a dictionary",
            Self::Global(_) => "a class or function",
            Self::Storage(..) => "a storage",
            Self::Tensor(_) => "a tensor",
        }
    }
}

/// The only names that a pickle may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Global {
    OrderedDict,
    Size,
    /// As torch 0.1.10 to 0.3 wrote it.
    RebuildTensorV1,
    RebuildTensor,
    RebuildParameter,
    RebuildParameterWithState,
    /// A tensor that was given attributes in Python.
    RebuildFromType,
    Tensor,
    Parameter,
    StorageType(Kind),
}

impl Global {
    fn named(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("torch", "Size") => Self::Size,
            ("torch._utils", "_rebuild_tensor") => Self::RebuildTensorV1,
            ("torch._utils", "_rebuild_tensor_v2") => Self::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") => Self::RebuildParameter,
            ("torch._utils", "_rebuild_parameter_with_state") => Self::RebuildParameterWithState,
            ("torch._tensor", "_rebuild_from_type_v2") => Self::RebuildFromType,
            ("torch", "Tensor") => Self::Tensor,
            ("torch.nn.parameter", "Parameter") => Self::Parameter,
            ("torch", "DoubleStorage") => Self::StorageType(Kind::Double),
            ("torch", "FloatStorage") => Self::StorageType(Kind::Float),
            ("torch", "HalfStorage") => Self::StorageType(Kind::Half),
            ("torch", "BFloat16Storage") => Self::StorageType(Kind::BFloat16),
            ("torch", "LongStorage") => Self::StorageType(Kind::Int64),
            ("torch", "IntStorage") => Self::StorageType(Kind::Int),
            ("torch", "ShortStorage") => Self::StorageType(Kind::Int16),
            ("torch", "CharStorage") => Self::StorageType(Kind::Int8),
            ("torch", "ByteStorage") => Self::StorageType(Kind::Uint8),
            ("torch", "BoolStorage") => Self::StorageType(Kind::Bool),
            _ => return None,
        })
    }
}

/// Numbers that lie elsewhere in the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Storage {
    pub(super) key: Rc<str>,
    pub(super) kind: Kind,
    pub(super) numel: u64,
}

/// A tensor as a view of a storage.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct View {
    pub(super) storage: Rc<Storage>,
    pub(super) offset: i64,
    pub(super) shape: Vec<i64>,
    pub(super) strides: Vec<i64>,
}

/// What a pickle says.
#[derive(Debug)]
pub(super) struct Pickle {
    values: Vec<Value>,
    root: Id,
}

impl Pickle {
    pub(super) fn root(&self) -> &Value {
        self.value(self.root)
    }

    pub(super) fn value(&self, id: Id) -> &Value {
        &self.values[id.0 as usize]
    }

    /// The strings of a list of strings.
    pub(super) fn texts(&self) -> Option<Vec<&Rc<str>>> {
        let Value::List(items) = self.root() else { return None };
        items
            .iter()
            .map(|&item| match self.value(item) {
                Value::Text(text) => Some(text),
                _ => None,
            })
            .collect()
    }

    /// A truth value of a dictionary.
    pub(super) fn flag(&self, key: &str) -> Option<bool> {
        let Value::Dict(entries) = self.root() else { return None };
        entries
            .iter()
            .find_map(|&(name, value)| match (self.value(name), self.value(value)) {
                (Value::Text(name), Value::Bool(value)) if **name == *key => Some(*value),
                _ => None,
            })
    }

    /// Every storage that is named anywhere, each once.
    pub(super) fn storages(&self) -> Result<BTreeMap<Rc<str>, Rc<Storage>>, StateDictFault> {
        let mut storages = BTreeMap::<Rc<str>, Rc<Storage>>::new();
        for value in &self.values {
            let Value::Storage(storage, _) = value else { continue };
            let known = storages
                .entry(Rc::clone(&storage.key))
                .or_insert_with(|| Rc::clone(storage));
            if known != storage {
                return Err(StateDictFault::TwoStorages {
                    storage: storage.key.to_string(),
                    one: (known.kind, known.numel),
                    other: (storage.kind, storage.numel),
                });
            }
        }
        Ok(storages)
    }

    /// Reads one pickle and not a byte more.
    pub(super) fn read(reader: &mut impl Read) -> Result<Self, StateDictFault> {
        let mut machine = Machine {
            reader,
            offset: 0,
            values: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            copied: 0,
        };
        let root = machine.run()?;
        Ok(Self {
            values: machine.values,
            root,
        })
    }
}

struct Machine<'a, R> {
    reader: &'a mut R,
    /// Bytes read so far.
    offset: usize,
    values: Vec<Value>,
    stack: Vec<Id>,
    /// The stack's heights at its marks.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    /// Entries of dictionaries that calls made.
    copied: usize,
}

impl<R: Read> Machine<'_, R> {
    fn run(&mut self) -> Result<Id, StateDictFault> {
        loop {
            let at = self.offset;
            let [opcode] = self.bytes()?;
            match opcode {
                // PROTO and FRAME say how the rest is written, which the instructions say as well.
                0x80 => {
                    let [protocol] = self.bytes()?;
                    if !(2..=5).contains(&protocol) {
                        return Err(self.broken("a protocol other than 2 to 5"));
                    }
                }
                0x95 => drop(self.bytes::<8>()?),
                b'.' => return self.pop(),

                b'N' => self.push(Value::None)?,
                0x88 | 0x89 => self.push(Value::Bool(opcode == 0x88))?,
                b'J' => {
                    let value = i32::from_le_bytes(self.bytes()?);
                    self.push(Value::Int(value.into()))?;
                }
                b'K' => {
                    let [value] = self.bytes()?;
                    self.push(Value::Int(value.into()))?;
                }
                b'M' => {
                    let value = u16::from_le_bytes(self.bytes()?);
                    self.push(Value::Int(value.into()))?;
                }
                0x8a => self.long()?,
                b'G' => {
                    self.bytes::<8>()?;
                    self.push(Value::Float)?;
                }
                b'U' | 0x8c => {
                    let [length] = self.bytes()?;
                    self.text(length.into())?;
                }
                b'T' | b'X' => {
                    let length = u32::from_le_bytes(self.bytes()?);
                    self.text(length.into())?;
                }

                b'(' => {
                    if self.marks.len() == MAX_VALUES {
                        return Err(too_many_values());
                    }
                    self.marks.push(self.stack.len());
                }
                b')' => self.push(Value::Tuple(Vec::new()))?,
                b't' => {
                    let items = self.pop_to_mark()?;
                    self.push(Value::Tuple(items))?;
                }
                0x85..=0x87 => {
                    let first = self.depth(usize::from(opcode - 0x84))?;
                    let items = self.stack.split_off(first);
                    self.push(Value::Tuple(items))?;
                }
                b']' => self.push(Value::List(Vec::new()))?,
                b'a' => {
                    let item = self.pop()?;
                    self.append(&[item])?;
                }
                b'e' => {
                    let items = self.pop_to_mark()?;
                    self.append(&items)?;
                }
                b'}' => self.push(Value::Dict(Vec::new()))?,
                b's' => {
                    let first = self.depth(2)?;
                    let items = self.stack.split_off(first);
                    self.set_items(&items)?;
                }
                b'u' => {
                    let items = self.pop_to_mark()?;
                    self.set_items(&items)?;
                }

                b'q' => {
                    let [index] = self.bytes()?;
                    self.remember(index.into())?;
                }
                b'r' => {
                    let index = u32::from_le_bytes(self.bytes()?);
                    self.remember(index)?;
                }
                0x94 => self.remember(self.memo.len() as u32)?,
                b'h' => {
                    let [index] = self.bytes()?;
                    self.recall(index.into())?;
                }
                b'j' => {
                    let index = u32::from_le_bytes(self.bytes()?);
                    self.recall(index)?;
                }

                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    self.global(&module, &name, at)?;
                }
                0x93 => {
                    let (name, module) = (self.pop()?, self.pop()?);
                    match (self.get(module).clone(), self.get(name).clone()) {
                        (Value::Text(module), Value::Text(name)) => self.global(&module, &name, at)?,
                        _ => return Err(self.broken("a class or function whose name is no string")),
                    }
                }
                b'Q' => self.storage()?,
                b'R' => self.call()?,
                b'b' => {
                    let state = self.pop()?;
                    let top = self.top()?;
                    match self.get(top) {
                        // Of what is set on objects, a state dict has only `_metadata`: versions of modules.
                        Value::Dict(_) => {}
                        // A parameter of torch before 0.4: whether it asks for gradients, and hooks.
                        Value::Tensor(_) if self.is_state_of_parameter(state) => {}
                        _ => return Err(self.broken("attributes set on something that is no dictionary")),
                    }
                }
                _ => return Err(StateDictFault::Opcode { opcode, offset: at }),
            }
        }
    }

    fn broken(&self, what: &'static str) -> StateDictFault {
        StateDictFault::Broken {
            what,
            offset: self.offset,
        }
    }

    fn count(&mut self, bytes: usize) -> Result<(), StateDictFault> {
        self.offset += bytes;
        match self.offset <= MAX_BYTES {
            true => Ok(()),
            false => Err(StateDictFault::TooLarge {
                what: "bytes",
                limit: MAX_BYTES,
            }),
        }
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], StateDictFault> {
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes)?;
        self.count(N)?;
        Ok(bytes)
    }

    /// A class's module or name, to the end of its line.
    fn line(&mut self) -> Result<String, StateDictFault> {
        const LONGEST: usize = 255;
        let mut line = Vec::new();
        loop {
            match self.bytes()? {
                [b'\n'] => break,
                [_] if line.len() == LONGEST => return Err(self.broken("a name of more than 255 bytes")),
                [byte] => line.push(byte),
            }
        }
        String::from_utf8(line).map_err(|_| self.broken("a name that is no UTF-8"))
    }

    fn text(&mut self, length: u64) -> Result<(), StateDictFault> {
        if length > MAX_TEXT as u64 {
            return Err(StateDictFault::TooLarge {
                what: "bytes in a string",
                limit: MAX_TEXT,
            });
        }
        let mut bytes = vec![0; length as usize];
        self.reader.read_exact(&mut bytes)?;
        self.count(bytes.len())?;
        let text = String::from_utf8(bytes).map_err(|_| self.broken("a string that is no UTF-8"))?;
        self.push(Value::Text(text.into()))
    }

    /// An integer of up to eight bytes, the lowest first, in two's complement.
    fn long(&mut self) -> Result<(), StateDictFault> {
        let [length] = self.bytes()?;
        if length > 8 {
            return Err(self.broken("an integer of more than 64 bits"));
        }
        let mut value = 0_i64;
        for index in 0..u32::from(length) {
            let [byte] = self.bytes()?;
            value |= i64::from(byte) << (8 * index);
        }
        let unused = 64 - 8 * u32::from(length);
        let value = if unused < 64 { value << unused >> unused } else { 0 };
        self.push(Value::Int(value))
    }

    fn get(&self, id: Id) -> &Value {
        &self.values[id.0 as usize]
    }

    fn push(&mut self, value: Value) -> Result<(), StateDictFault> {
        if self.values.len() == MAX_VALUES {
            return Err(too_many_values());
        }
        let id = Id(self.values.len() as u32);
        self.values.push(value);
        self.push_id(id)
    }

    fn push_id(&mut self, id: Id) -> Result<(), StateDictFault> {
        if self.stack.len() == MAX_VALUES {
            return Err(too_many_values());
        }
        self.stack.push(id);
        Ok(())
    }

    /// The stack's height without its topmost `count` values, which all lie above the last mark.
    fn depth(&self, count: usize) -> Result<usize, StateDictFault> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.len().checked_sub(count) {
            Some(depth) if depth >= floor => Ok(depth),
            _ => Err(self.broken("an instruction that takes more values than there are")),
        }
    }

    fn top(&self) -> Result<Id, StateDictFault> {
        Ok(self.stack[self.depth(1)?])
    }

    fn pop(&mut self) -> Result<Id, StateDictFault> {
        let id = self.top()?;
        self.stack.pop();
        Ok(id)
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>, StateDictFault> {
        match self.marks.pop() {
            Some(mark) => Ok(self.stack.split_off(mark)),
            None => Err(self.broken("the end of a row that was not begun")),
        }
    }

    fn append(&mut self, items: &[Id]) -> Result<(), StateDictFault> {
        let top = self.top()?;
        match &mut self.values[top.0 as usize] {
            Value::List(list) => list.extend(items),
            _ => return Err(self.broken("items for something that is no list")),
        }
        Ok(())
    }

    fn set_items(&mut self, items: &[Id]) -> Result<(), StateDictFault> {
        let top = self.top()?;
        if !items.len().is_multiple_of(2) {
            return Err(self.broken("a key without a value"));
        }
        match &mut self.values[top.0 as usize] {
            Value::Dict(entries) => entries.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1]))),
            _ => return Err(self.broken("entries for something that is no dictionary")),
        }
        Ok(())
    }

    fn remember(&mut self, index: u32) -> Result<(), StateDictFault> {
        let top = self.top()?;
        self.memo.insert(index, top);
        match self.memo.len() <= MAX_VALUES {
            true => Ok(()),
            false => Err(too_many_values()),
        }
    }

    fn recall(&mut self, index: u32) -> Result<(), StateDictFault> {
        match self.memo.get(&index) {
            Some(&id) => self.push_id(id),
            None => Err(self.broken("a reference to a value that was not kept")),
        }
    }

    fn global(&mut self, module: &str, name: &str, at: usize) -> Result<(), StateDictFault> {
        match Global::named(module, name) {
            Some(global) => self.push(Value::Global(global)),
            None => Err(StateDictFault::Global {
                global: format!("{module}.{name}"),
                offset: at,
            }),
        }
    }

    /// A call's arguments, or the parts of a reference.
    fn items(&self, id: Id) -> Option<Vec<&Value>> {
        match self.get(id) {
            Value::Tuple(items) if items.len() <= MAX_ARGUMENTS => {
                Some(items.iter().map(|&item| self.get(item)).collect())
            }
            _ => None,
        }
    }

    /// `(requires_grad, volatile, hooks)`.
    fn is_state_of_parameter(&self, id: Id) -> bool {
        let items = self.items(id);
        matches!(
            items.as_deref(),
            Some([Value::Bool(_), Value::Bool(_), Value::Dict(_) | Value::None])
        )
    }

    /// `('storage', type, key, device, numel)`; torch's older format adds a view, which is None or, before 0.4, the part
    /// `(key, offset, numel)` of the storage that is meant.
    fn storage(&mut self) -> Result<(), StateDictFault> {
        let unlike = |machine: &Self| machine.broken("a reference that is not to a storage");
        let id = self.pop()?;
        let Some(items) = self.items(id) else {
            return Err(unlike(self));
        };
        let [
            Value::Text(tag),
            Value::Global(Global::StorageType(kind)),
            Value::Text(key),
            Value::Text(_device),
            Value::Int(numel @ 0..),
            view @ ..,
        ] = items.as_slice()
        else {
            return Err(unlike(self));
        };
        let from = match view {
            [] | [Value::None] => 0,
            &[Value::Tuple(view)] => match *view.as_slice() {
                [key, offset, numel] => match (self.get(key), self.get(offset), self.get(numel)) {
                    (Value::Text(_), &Value::Int(offset @ 0..), Value::Int(_)) => offset,
                    _ => return Err(unlike(self)),
                },
                _ => return Err(unlike(self)),
            },
            _ => return Err(unlike(self)),
        };
        if **tag != *"storage" {
            return Err(unlike(self));
        }
        let storage = Storage {
            key: Rc::clone(key),
            kind: *kind,
            numel: *numel as u64,
        };
        self.push(Value::Storage(Rc::new(storage), from))
    }

    fn call(&mut self) -> Result<(), StateDictFault> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let Value::Global(function) = *self.get(function) else {
            return Err(self.broken("a call of something that is no function"));
        };
        let made = self.made(function, arguments)?;
        // A dictionary of a list's pairs is a copy of them, and a call of a few bytes makes it.
        if let Value::Dict(entries) = &made {
            self.copied += entries.len();
            if self.copied > MAX_VALUES {
                return Err(too_many_values());
            }
        }
        self.push(made)
    }

    /// What a function makes of its arguments. Whether a tensor asks for gradients, its hooks and its attributes do not
    /// matter here.
    fn made(&self, function: Global, arguments: Id) -> Result<Value, StateDictFault> {
        let Some(items) = self.items(arguments) else {
            return Err(self.broken("a call whose arguments are no tuple of up to 8"));
        };
        match (function, items.as_slice()) {
            (Global::OrderedDict, []) => Ok(Value::Dict(Vec::new())),
            // As Python 2 wrote it.
            (Global::OrderedDict, [Value::List(pairs)]) => self
                .pairs(pairs)
                .map(Value::Dict)
                .ok_or_else(|| self.broken("a dictionary of something else than pairs")),
            (Global::Size, [Value::Tuple(shape)]) if shape.len() <= MAX_AXES => Ok(Value::Tuple(shape.clone())),
            (
                Global::RebuildTensorV1,
                [
                    Value::Storage(storage, from),
                    Value::Int(offset),
                    Value::Tuple(shape),
                    Value::Tuple(strides),
                ],
            )
            | (
                Global::RebuildTensor,
                [
                    Value::Storage(storage, from),
                    Value::Int(offset),
                    Value::Tuple(shape),
                    Value::Tuple(strides),
                    Value::Bool(_),
                    Value::Dict(_),
                    ..,
                ],
            ) => match (self.integers(shape), self.integers(strides), from.checked_add(*offset)) {
                (Some(shape), Some(strides), Some(offset)) => Ok(Value::Tensor(Rc::new(View {
                    storage: Rc::clone(storage),
                    offset,
                    shape,
                    strides,
                }))),
                _ => Err(self.broken("a tensor whose shape or strides are not up to 16 integers")),
            },
            (Global::RebuildParameter, [Value::Tensor(view), Value::Bool(_), Value::Dict(_)])
            | (Global::RebuildParameterWithState, [Value::Tensor(view), Value::Bool(_), Value::Dict(_), _])
            | (Global::Parameter, [Value::Tensor(view)] | [Value::Tensor(view), Value::Bool(_)]) => {
                Ok(Value::Tensor(Rc::clone(view)))
            }
            (
                Global::RebuildFromType,
                &[
                    Value::Global(function @ (Global::RebuildTensor | Global::RebuildParameter)),
                    Value::Global(Global::Tensor | Global::Parameter),
                    Value::Tuple(_),
                    _state,
                ],
            ) => match self.get(arguments) {
                Value::Tuple(ids) => self.made(*function, ids[2]),
                _ => Err(self.broken("a call whose arguments are no tuple of up to 8")),
            },
            _ => Err(self.broken("a call with arguments that the function does not take")),
        }
    }

    /// `[[key, value], …]`.
    fn pairs(&self, ids: &[Id]) -> Option<Vec<(Id, Id)>> {
        ids.iter()
            .map(|&id| match self.get(id) {
                Value::List(pair) | Value::Tuple(pair) => match pair.as_slice() {
                    &[key, value] => Some((key, value)),
                    _ => None,
                },
                _ => None,
            })
            .collect()
    }

    fn integers(&self, ids: &[Id]) -> Option<Vec<i64>> {
        if ids.len() > MAX_AXES {
            return None;
        }
        ids.iter()
            .map(|&id| match self.get(id) {
                Value::Int(value) => Some(*value),
                _ => None,
            })
            .collect()
    }
}

fn too_many_values() -> StateDictFault {
    StateDictFault::TooLarge {
        what: "values",
        limit: MAX_VALUES,
    }
}
