//! A reader of pickles that can rebuild tensors and nothing else.
//!
//! A pickle is a program for a stack machine, and Python's own reader runs
//! whatever it names. This one knows dictionaries, lists, tuples, numbers,
//! text and PyTorch's description of a tensor; any other name ends the reading
//! before anything is done with it. Containers are shared, not copied, so a
//! pickle that refers to itself a billion times costs what its bytes cost.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// What a pickle can hold here.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// `None`, a boolean or a float: part of a checkpoint, of no use to a base.
    Opaque,
    /// An integer.
    Int(i64),
    /// Text.
    Text(Rc<str>),
    /// A tuple.
    Tuple(Rc<[Value]>),
    /// A list.
    List(Rc<RefCell<Vec<Value>>>),
    /// A dictionary in insertion order.
    Dict(Rc<RefCell<Vec<(Value, Value)>>>),
    /// A name of Python that is known to be harmless.
    Global(Global),
    /// A piece of memory that lies elsewhere in the file.
    Storage(Storage),
    /// A tensor.
    Tensor(Rc<TensorView>),
}

/// The names of Python that a checkpoint may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Global {
    /// `collections.OrderedDict`
    OrderedDict,
    /// `torch._utils._rebuild_tensor_v2`
    RebuildTensor,
    /// `torch._utils._rebuild_parameter`
    RebuildParameter,
    /// `torch.FloatStorage` and its like.
    StorageType(ElementType),
    /// `argparse.Namespace`: the options of whoever trained. Nothing is made of it.
    Namespace,
}

/// The type of a storage's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ElementType {
    /// float32
    F32,
    /// float16
    F16,
    /// bfloat16
    BF16,
    /// float64: eight bytes that no base has.
    F64,
    /// int64: counters such as `num_batches_tracked`.
    I64,
    /// int32
    I32,
    /// int16
    I16,
    /// int8
    I8,
    /// uint8
    U8,
    /// Truth values.
    Bool,
}

impl ElementType {
    /// Bytes of one element.
    pub(super) fn size(self) -> usize {
        match self {
            Self::I8 | Self::U8 | Self::Bool => 1,
            Self::F16 | Self::BF16 | Self::I16 => 2,
            Self::F32 | Self::I32 => 4,
            Self::F64 | Self::I64 => 8,
        }
    }
}

/// Names a storage.
#[derive(Debug, Clone)]
pub(super) struct Storage {
    /// The key under which the file holds the bytes.
    pub(super) key: Rc<str>,
    /// The type of its elements.
    pub(super) element: ElementType,
}

/// A tensor as a view of a storage; offset and strides in elements.
#[derive(Debug, Clone)]
pub(super) struct TensorView {
    /// The storage.
    pub(super) storage: Storage,
    /// The first element.
    pub(super) offset: usize,
    /// The shape.
    pub(super) shape: Vec<usize>,
    /// The strides.
    pub(super) strides: Vec<usize>,
}

/// Why a pickle was not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum PickleError {
    /// It ends too early.
    #[error("it ends in the middle of its description")]
    Truncated,
    /// It uses a name that rebuilding tensors does not need.
    #[error("it asks for `{0}`, which rebuilding tensors does not need and is never run")]
    Foreign(String),
    /// It is no pickle that a checkpoint would have.
    #[error("its description is damaged at byte {at}")]
    Malformed {
        /// Where, in bytes from the beginning of the pickle.
        at: usize,
    },
}

/// A pickle that was read.
#[derive(Debug)]
pub(super) struct Pickle {
    /// What it holds.
    pub(super) value: Value,
    /// Its length in bytes.
    pub(super) length: usize,
    /// All storages that it names, wherever, by their keys.
    pub(super) storages: HashMap<Rc<str>, ElementType>,
}

/// Reads one pickle from the beginning of `bytes`.
pub(super) fn read(bytes: &[u8]) -> Result<Pickle, PickleError> {
    let mut machine = Machine {
        bytes,
        at: 0,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        storages: HashMap::new(),
    };
    while !machine.step()? {}
    Ok(Pickle {
        value: machine.pop()?,
        length: machine.at,
        storages: machine.storages,
    })
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Value>,
    /// Heights of the stack at each open mark.
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
    storages: HashMap<Rc<str>, ElementType>,
}

impl Machine<'_> {
    /// Runs one instruction; true at the end of the pickle.
    fn step(&mut self) -> Result<bool, PickleError> {
        match self.byte()? {
            0x80 => drop(self.byte()?),  // PROTO
            0x95 => drop(self.take(8)?), // FRAME
            b'(' => self.marks.push(self.stack.len()),
            b'.' => return Ok(true),
            b'N' | 0x88 | 0x89 => self.stack.push(Value::Opaque), // NONE, NEWTRUE, NEWFALSE
            b'G' => {
                self.take(8)?; // BINFLOAT
                self.stack.push(Value::Opaque);
            }
            b'J' => {
                let raw = self.array::<4>()?;
                self.stack.push(Value::Int(i64::from(i32::from_le_bytes(raw))));
            }
            b'K' => {
                let value = self.byte()?;
                self.stack.push(Value::Int(i64::from(value)));
            }
            b'M' => {
                let raw = self.array::<2>()?;
                self.stack.push(Value::Int(i64::from(u16::from_le_bytes(raw))));
            }
            0x8a => self.long()?,
            b'X' => {
                let length = u32::from_le_bytes(self.array::<4>()?) as usize;
                self.text(length)?;
            }
            0x8c => {
                let length = usize::from(self.byte()?);
                self.text(length)?;
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.global(&module, &name)?;
            }
            0x93 => match (self.pop()?, self.pop()?) {
                (Value::Text(name), Value::Text(module)) => self.global(&module, &name)?,
                _ => return Err(self.malformed()),
            },
            b'q' => {
                let slot = u32::from(self.byte()?);
                self.memoize(slot)?;
            }
            b'r' => {
                let slot = u32::from_le_bytes(self.array::<4>()?);
                self.memoize(slot)?;
            }
            0x94 => self.memoize(self.memo.len() as u32)?,
            b'h' => {
                let slot = u32::from(self.byte()?);
                self.recall(slot)?;
            }
            b'j' => {
                let slot = u32::from_le_bytes(self.array::<4>()?);
                self.recall(slot)?;
            }
            b')' => self.stack.push(Value::Tuple(Rc::new([]))),
            0x85 => self.tuple(1)?,
            0x86 => self.tuple(2)?,
            0x87 => self.tuple(3)?,
            b't' => {
                let items = self.since_mark()?;
                self.stack.push(Value::Tuple(items.into()));
            }
            b']' => self.stack.push(Value::List(Rc::default())),
            b'}' => self.stack.push(Value::Dict(Rc::default())),
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' => {
                let items = self.since_mark()?;
                self.append(items)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set_items(vec![key, value])?;
            }
            b'u' => {
                let items = self.since_mark()?;
                self.set_items(items)?;
            }
            b'Q' => {
                let id = self.pop()?;
                let storage = storage(&id).ok_or_else(|| self.malformed())?;
                self.storages.insert(Rc::clone(&storage.key), storage.element);
                self.stack.push(Value::Storage(storage));
            }
            b'R' => {
                let (arguments, callable) = (self.pop()?, self.pop()?);
                let made = rebuild(&callable, &arguments).ok_or_else(|| self.malformed())?;
                self.stack.push(made);
            }
            // NEWOBJ makes an object of a class; only of one that is made nothing of.
            0x81 => match (self.pop()?, self.pop()?) {
                (Value::Tuple(_), Value::Global(Global::Namespace)) => self.stack.push(Value::Opaque),
                _ => return Err(self.malformed()),
            },
            // BUILD sets attributes, such as an OrderedDict's `_metadata`: no use here.
            b'b' => drop(self.pop()?),
            _ => return Err(self.malformed()),
        }
        Ok(false)
    }

    fn malformed(&self) -> PickleError {
        PickleError::Malformed {
            at: self.at.saturating_sub(1),
        }
    }

    fn take(&mut self, length: usize) -> Result<&[u8], PickleError> {
        let end = self
            .at
            .checked_add(length)
            .filter(|end| *end <= self.bytes.len())
            .ok_or(PickleError::Truncated)?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], PickleError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn byte(&mut self) -> Result<u8, PickleError> {
        Ok(self.array::<1>()?[0])
    }

    fn line(&mut self) -> Result<String, PickleError> {
        let rest = &self.bytes[self.at..];
        let length = rest
            .iter()
            .position(|byte| *byte == b'\n')
            .ok_or(PickleError::Truncated)?;
        let line = String::from_utf8_lossy(&rest[..length]).into_owned();
        self.at += length + 1;
        Ok(line)
    }

    fn text(&mut self, length: usize) -> Result<(), PickleError> {
        let text = std::str::from_utf8(self.take(length)?).map(Rc::from);
        let text = text.map_err(|_| self.malformed())?;
        self.stack.push(Value::Text(text));
        Ok(())
    }

    /// LONG1: little-endian two's complement. What does not fit 64 bits (the
    /// magic number of a checkpoint) is of no use and becomes opaque.
    fn long(&mut self) -> Result<(), PickleError> {
        let length = usize::from(self.byte()?);
        let raw = self.take(length)?;
        let value = if length <= 8 {
            let sign = if raw.last().is_some_and(|top| top & 0x80 != 0) {
                0xff
            } else {
                0
            };
            let mut wide = [sign; 8];
            wide[..length].copy_from_slice(raw);
            Value::Int(i64::from_le_bytes(wide))
        } else {
            Value::Opaque
        };
        self.stack.push(value);
        Ok(())
    }

    fn global(&mut self, module: &str, name: &str) -> Result<(), PickleError> {
        let known = match (module, name) {
            ("collections", "OrderedDict") => Global::OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2") => Global::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") => Global::RebuildParameter,
            ("torch", "FloatStorage") => Global::StorageType(ElementType::F32),
            ("torch", "HalfStorage") => Global::StorageType(ElementType::F16),
            ("torch", "BFloat16Storage") => Global::StorageType(ElementType::BF16),
            ("torch", "DoubleStorage") => Global::StorageType(ElementType::F64),
            ("torch", "LongStorage") => Global::StorageType(ElementType::I64),
            ("torch", "IntStorage") => Global::StorageType(ElementType::I32),
            ("torch", "ShortStorage") => Global::StorageType(ElementType::I16),
            ("torch", "CharStorage") => Global::StorageType(ElementType::I8),
            ("torch", "ByteStorage") => Global::StorageType(ElementType::U8),
            ("torch", "BoolStorage") => Global::StorageType(ElementType::Bool),
            ("argparse", "Namespace") => Global::Namespace,
            _ => {
                let foreign = format!("{module}.{name}").chars().take(120).collect();
                return Err(PickleError::Foreign(foreign));
            }
        };
        self.stack.push(Value::Global(known));
        Ok(())
    }

    fn pop(&mut self) -> Result<Value, PickleError> {
        // Nothing below the innermost mark belongs to whoever pops now.
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err(self.malformed());
        }
        self.stack.pop().ok_or_else(|| self.malformed())
    }

    fn since_mark(&mut self) -> Result<Vec<Value>, PickleError> {
        let mark = self.marks.pop().ok_or_else(|| self.malformed())?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    fn tuple(&mut self, length: usize) -> Result<(), PickleError> {
        let mut items = Vec::with_capacity(length);
        for _ in 0..length {
            items.push(self.pop()?);
        }
        items.reverse();
        self.stack.push(Value::Tuple(items.into()));
        Ok(())
    }

    fn append(&mut self, items: Vec<Value>) -> Result<(), PickleError> {
        match self.stack.last() {
            Some(Value::List(list)) => {
                list.borrow_mut().extend(items);
                Ok(())
            }
            _ => Err(self.malformed()),
        }
    }

    fn set_items(&mut self, items: Vec<Value>) -> Result<(), PickleError> {
        match self.stack.last() {
            Some(Value::Dict(dict)) if items.len().is_multiple_of(2) => {
                let mut items = items.into_iter();
                let mut dict = dict.borrow_mut();
                while let (Some(key), Some(value)) = (items.next(), items.next()) {
                    dict.push((key, value));
                }
                Ok(())
            }
            _ => Err(self.malformed()),
        }
    }

    fn memoize(&mut self, slot: u32) -> Result<(), PickleError> {
        let top = self.stack.last().cloned().ok_or_else(|| self.malformed())?;
        self.memo.insert(slot, top);
        Ok(())
    }

    fn recall(&mut self, slot: u32) -> Result<(), PickleError> {
        let value = self.memo.get(&slot).cloned().ok_or_else(|| self.malformed())?;
        self.stack.push(value);
        Ok(())
    }
}

/// `("storage", type, key, location, length, …)`
fn storage(id: &Value) -> Option<Storage> {
    let Value::Tuple(id) = id else { return None };
    match id.as_ref() {
        [
            Value::Text(kind),
            Value::Global(Global::StorageType(element)),
            Value::Text(key),
            ..,
        ] if kind.as_ref() == "storage" => Some(Storage {
            key: Rc::clone(key),
            element: *element,
        }),
        _ => None,
    }
}

/// The few calls that a checkpoint makes.
fn rebuild(callable: &Value, arguments: &Value) -> Option<Value> {
    let (Value::Global(callable), Value::Tuple(arguments)) = (callable, arguments) else {
        return None;
    };
    match (callable, arguments.as_ref()) {
        (Global::OrderedDict, []) => Some(Value::Dict(Rc::default())),
        (Global::RebuildParameter, [tensor @ Value::Tensor(_), ..]) => Some(tensor.clone()),
        (Global::RebuildTensor, [Value::Storage(storage), Value::Int(offset), shape, strides, ..]) => {
            Some(Value::Tensor(Rc::new(TensorView {
                storage: storage.clone(),
                offset: usize::try_from(*offset).ok()?,
                shape: sizes(shape)?,
                strides: sizes(strides)?,
            })))
        }
        _ => None,
    }
}

fn sizes(value: &Value) -> Option<Vec<usize>> {
    let Value::Tuple(items) = value else { return None };
    let size = |item: &Value| match item {
        Value::Int(size) => usize::try_from(*size).ok(),
        _ => None,
    };
    items.iter().map(size).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_dictionary_of_text_and_numbers_is_read() {
        let Pickle { value, length, .. } = read(b"\x80\x02}X\x01\x00\x00\x00aK\x07s.rest").unwrap();
        let Value::Dict(entries) = value else {
            panic!("a dictionary")
        };
        let entries = entries.borrow();
        assert!(matches!(&entries[..], [(Value::Text(key), Value::Int(7))] if key.as_ref() == "a"));
        assert_eq!(length, 13);
    }

    #[test]
    fn a_pickle_that_would_run_something_is_refused_by_name() {
        let refused = read(b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00ls\x85R.").unwrap_err();
        assert_eq!(refused, PickleError::Foreign("os.system".to_owned()));
    }

    #[test]
    fn the_options_of_a_training_are_passed_over_and_no_other_object_is_made() {
        let options = b"\x80\x02cargparse\nNamespace\n)\x81}X\x02\x00\x00\x00lrG????????sb.";
        assert!(matches!(read(options).unwrap().value, Value::Opaque));
        let called = b"\x80\x02cargparse\nNamespace\n)R.";
        assert!(matches!(read(called), Err(PickleError::Malformed { .. })));
        let other = b"\x80\x02ccollections\nOrderedDict\n)\x81.";
        assert!(matches!(read(other), Err(PickleError::Malformed { .. })));
    }

    #[test]
    fn a_list_that_holds_itself_many_times_costs_only_its_bytes() {
        let mut bomb = b"\x80\x02]q\x00".to_vec();
        for _ in 0..1000 {
            bomb.extend(b"(h\x00h\x00e");
        }
        bomb.push(b'.');
        assert!(read(&bomb).is_ok());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&bytes);
        }

        #[test]
        fn no_opcodes_make_it_panic(ops in proptest::collection::vec(
            prop_oneof![Just(b'('), Just(b'}'), Just(b']'), Just(b'a'), Just(b'e'), Just(b's'), Just(b'u'),
                Just(b't'), Just(b'N'), Just(b')'), Just(b'Q'), Just(b'R'), Just(b'b'), Just(0x85), Just(0x94)], 0..60)) {
            let _ = read(&ops);
        }
    }
}
