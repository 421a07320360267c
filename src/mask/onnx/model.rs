//! What an ONNX file says that matters here: its initialisers, its nodes, and
//! which other files its tensors lie in.

use std::ops::Range;

use super::walker::{Fields, Value, numbers};
use super::{OnnxError, reserve};
use crate::mask::Limits;

/// Field numbers of `onnx.proto`, and the one data type that weights of a base have.
mod onnx {
    pub(super) const MODEL_GRAPH: u64 = 7;
    pub(super) const MODEL_FUNCTIONS: u64 = 25;
    pub(super) const FUNCTION_NODE: u64 = 7;
    pub(super) const GRAPH_NODE: u64 = 1;
    pub(super) const GRAPH_INITIALIZER: u64 = 5;
    pub(super) const GRAPH_SPARSE_INITIALIZER: u64 = 15;
    pub(super) const SPARSE_VALUES: u64 = 1;
    pub(super) const SPARSE_INDICES: u64 = 2;
    pub(super) const NODE_INPUT: u64 = 1;
    pub(super) const NODE_OUTPUT: u64 = 2;
    pub(super) const NODE_OP_TYPE: u64 = 4;
    pub(super) const NODE_ATTRIBUTE: u64 = 5;
    pub(super) const NODE_DOMAIN: u64 = 7;
    pub(super) const ATTRIBUTE_T: u64 = 5;
    pub(super) const ATTRIBUTE_G: u64 = 6;
    pub(super) const ATTRIBUTE_TENSORS: u64 = 10;
    pub(super) const ATTRIBUTE_GRAPHS: u64 = 11;
    pub(super) const TENSOR_DIMS: u64 = 1;
    pub(super) const TENSOR_DATA_TYPE: u64 = 2;
    pub(super) const TENSOR_FLOAT_DATA: u64 = 4;
    pub(super) const TENSOR_NAME: u64 = 8;
    pub(super) const TENSOR_RAW_DATA: u64 = 9;
    pub(super) const TENSOR_EXTERNAL_DATA: u64 = 13;
    pub(super) const TENSOR_DATA_LOCATION: u64 = 14;
    pub(super) const EXTERNAL: u64 = 1;
    pub(super) const ENTRY_KEY: u64 = 1;
    pub(super) const ENTRY_VALUE: u64 = 2;
}

/// A model, as far as it matters here. Texts are those of the file.
#[derive(Debug, Default)]
pub(super) struct Model<'a> {
    /// The initialisers of the main graph.
    pub(super) initialisers: Vec<Tensor<'a>>,
    /// All nodes, those of inner graphs and of functions, too.
    pub(super) nodes: Vec<Node<'a>>,
    /// Where tensors lie that are in other files and are no initialiser of the main graph.
    pub(super) others_beside: Vec<Beside<'a>>,
}

/// An operation of the graph.
#[derive(Debug, Default)]
pub(super) struct Node<'a> {
    /// What it does.
    pub(super) operator: &'a [u8],
    /// Who defined the operator; empty for ONNX itself.
    pub(super) domain: &'a [u8],
    /// Names of what it reads. None in a function, whose names are its own.
    pub(super) inputs: Vec<&'a [u8]>,
    /// Names of what it gives.
    pub(super) outputs: Vec<&'a [u8]>,
}

impl Node<'_> {
    /// Whether it is ONNX's own operator of that name.
    pub(super) fn is(&self, operator: &[u8]) -> bool {
        self.operator == operator && matches!(self.domain, b"" | b"ai.onnx")
    }
}

/// A named tensor of constant content.
#[derive(Debug)]
pub(super) struct Tensor<'a> {
    /// Its name.
    pub(super) name: &'a [u8],
    /// ONNX's number for the type of its elements.
    pub(super) data_type: u64,
    /// How many elements its shape has.
    pub(super) elements: u64,
    /// Where its elements lie.
    pub(super) data: Data<'a>,
}

/// Where a tensor's elements lie.
#[derive(Debug)]
pub(super) enum Data<'a> {
    /// In the model: the pieces, in order, as bytes of little-endian numbers.
    Here(Vec<Range<usize>>),
    /// In another file.
    Beside(Beside<'a>),
    /// In fields that hold no float32, or in two fields at once.
    Elsewhere,
}

/// A place in another file.
#[derive(Debug, Default)]
pub(super) struct Beside<'a> {
    /// The file's path relative to the model's folder.
    pub(super) location: &'a [u8],
    /// Where it begins.
    pub(super) offset: u64,
    /// How many bytes it has; none: all that follow.
    pub(super) length: Option<u64>,
    /// Whether the model names the other file's checksum.
    pub(super) checksum: bool,
}

impl<'a> Model<'a> {
    /// Walks through `file`. What is kept costs memory, which comes from `limits`.
    pub(super) fn read(file: &'a [u8], limits: &mut Limits) -> Result<Self, OnnxError> {
        let mut reader = Reader {
            file,
            limits,
            model: Self::default(),
            bodies: Vec::new(),
        };
        for field in Fields::of(file, 0..file.len()) {
            match field? {
                (onnx::MODEL_GRAPH, Value::Bytes(place)) => reader.later(Body::Main, place)?,
                (onnx::MODEL_FUNCTIONS, Value::Bytes(place)) => reader.later(Body::Function, place)?,
                _ => {}
            }
        }
        if !reader.bodies.iter().any(|(body, _)| *body == Body::Main) {
            return Err(OnnxError::Malformed("it has no graph"));
        }
        // A list instead of recursion: graphs in graphs in graphs cost no stack.
        while let Some((body, place)) = reader.bodies.pop() {
            reader.body(body, place)?;
        }
        Ok(reader.model)
    }

    /// All places in other files.
    pub(super) fn beside(&self) -> impl Iterator<Item = &Beside<'a>> {
        let own = self.initialisers.iter().filter_map(|tensor| match &tensor.data {
            Data::Beside(beside) => Some(beside),
            _ => None,
        });
        own.chain(&self.others_beside)
    }
}

/// What nodes can stand in.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Body {
    Main,
    /// A graph in a node; it sees the names of the main graph.
    Inner,
    /// A function; its names are its own.
    Function,
    /// A graph in a node of a function.
    InFunction,
}

impl Body {
    fn inner(self) -> Self {
        match self {
            Self::Main | Self::Inner => Self::Inner,
            Self::Function | Self::InFunction => Self::InFunction,
        }
    }

    fn sees_main(self) -> bool {
        matches!(self, Self::Main | Self::Inner)
    }
}

struct Reader<'a, 'l> {
    file: &'a [u8],
    limits: &'l mut Limits,
    model: Model<'a>,
    /// Graphs and functions that were found and not yet walked through.
    bodies: Vec<(Body, Range<usize>)>,
}

impl<'a> Reader<'a, '_> {
    /// Appends to a list at the budget's cost. Lists double when they grow, hence twice.
    fn push<T>(limits: &mut Limits, list: &mut Vec<T>, item: T) -> Result<(), OnnxError> {
        reserve(limits, 2 * size_of::<T>())?;
        list.push(item);
        Ok(())
    }

    fn later(&mut self, body: Body, place: Range<usize>) -> Result<(), OnnxError> {
        Self::push(self.limits, &mut self.bodies, (body, place))
    }

    fn body(&mut self, body: Body, place: Range<usize>) -> Result<(), OnnxError> {
        for field in Fields::of(self.file, place) {
            let (number, Value::Bytes(place)) = field? else {
                continue;
            };
            match (body, number) {
                (Body::Function, onnx::FUNCTION_NODE) => self.node(body, place)?,
                (Body::Function, _) => {}
                (_, onnx::GRAPH_NODE) => self.node(body, place)?,
                (Body::Main, onnx::GRAPH_INITIALIZER) => {
                    let tensor = self.tensor(place)?;
                    Self::push(self.limits, &mut self.model.initialisers, tensor)?;
                }
                (_, onnx::GRAPH_INITIALIZER) => self.other_tensor(place)?,
                (_, onnx::GRAPH_SPARSE_INITIALIZER) => self.sparse(place)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn node(&mut self, body: Body, place: Range<usize>) -> Result<(), OnnxError> {
        let mut node = Node::default();
        for field in Fields::of(self.file, place) {
            let (number, Value::Bytes(place)) = field? else {
                continue;
            };
            let text = &self.file[place.clone()];
            match number {
                onnx::NODE_INPUT if body.sees_main() => {
                    Self::push(self.limits, &mut node.inputs, text)?;
                }
                onnx::NODE_OUTPUT if body.sees_main() => {
                    Self::push(self.limits, &mut node.outputs, text)?;
                }
                onnx::NODE_OP_TYPE => node.operator = text,
                onnx::NODE_DOMAIN => node.domain = text,
                onnx::NODE_ATTRIBUTE => self.attribute(body, place)?,
                _ => {}
            }
        }
        Self::push(self.limits, &mut self.model.nodes, node)
    }

    fn attribute(&mut self, body: Body, place: Range<usize>) -> Result<(), OnnxError> {
        for field in Fields::of(self.file, place) {
            match field? {
                (onnx::ATTRIBUTE_T | onnx::ATTRIBUTE_TENSORS, Value::Bytes(place)) => {
                    self.other_tensor(place)?;
                }
                (onnx::ATTRIBUTE_G | onnx::ATTRIBUTE_GRAPHS, Value::Bytes(place)) => {
                    self.later(body.inner(), place)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn sparse(&mut self, place: Range<usize>) -> Result<(), OnnxError> {
        for field in Fields::of(self.file, place) {
            if let (onnx::SPARSE_VALUES | onnx::SPARSE_INDICES, Value::Bytes(place)) = field? {
                self.other_tensor(place)?;
            }
        }
        Ok(())
    }

    /// A tensor that is no initialiser of the main graph: only its file matters.
    fn other_tensor(&mut self, place: Range<usize>) -> Result<(), OnnxError> {
        if let Data::Beside(beside) = self.tensor(place)?.data {
            Self::push(self.limits, &mut self.model.others_beside, beside)?;
        }
        Ok(())
    }

    fn tensor(&mut self, place: Range<usize>) -> Result<Tensor<'a>, OnnxError> {
        let (mut name, mut data_type, mut elements) = (&[][..], 0, 1_u64);
        let (mut raw, mut floats, mut external) = (None, Vec::new(), false);
        let mut beside = Beside::default();
        for field in Fields::of(self.file, place) {
            match field? {
                (onnx::TENSOR_DIMS, Value::Number(dim)) => elements = elements.saturating_mul(dim),
                (onnx::TENSOR_DIMS, Value::Bytes(packed)) => {
                    for dim in numbers(self.file, packed) {
                        elements = elements.saturating_mul(dim?);
                    }
                }
                (onnx::TENSOR_DATA_TYPE, Value::Number(number)) => data_type = number,
                (onnx::TENSOR_NAME, Value::Bytes(text)) => name = &self.file[text],
                (onnx::TENSOR_RAW_DATA, Value::Bytes(bytes)) => raw = Some(bytes),
                (onnx::TENSOR_FLOAT_DATA, Value::Bytes(floats_here) | Value::Fixed(floats_here)) => {
                    if floats_here.len() % 4 != 0 {
                        return Err(OnnxError::Malformed("a fraction of a float32"));
                    }
                    Self::push(self.limits, &mut floats, floats_here)?;
                }
                (onnx::TENSOR_EXTERNAL_DATA, Value::Bytes(entry)) => self.entry(entry, &mut beside)?,
                (onnx::TENSOR_DATA_LOCATION, Value::Number(location)) => {
                    external = location == onnx::EXTERNAL;
                }
                _ => {}
            }
        }
        let data = match (external, raw.filter(|raw| !raw.is_empty()), floats) {
            (true, ..) => Data::Beside(beside),
            (false, Some(raw), floats) if floats.is_empty() => Data::Here(vec![raw]),
            (false, None, floats) => Data::Here(floats),
            _ => Data::Elsewhere,
        };
        Ok(Tensor {
            name,
            data_type,
            elements,
            data,
        })
    }

    /// One key of `external_data` and its value.
    fn entry(&self, place: Range<usize>, beside: &mut Beside<'a>) -> Result<(), OnnxError> {
        let (mut key, mut value) = (&[][..], &[][..]);
        for field in Fields::of(self.file, place) {
            match field? {
                (onnx::ENTRY_KEY, Value::Bytes(text)) => key = &self.file[text],
                (onnx::ENTRY_VALUE, Value::Bytes(text)) => value = &self.file[text],
                _ => {}
            }
        }
        let number = || {
            str::from_utf8(value)
                .ok()
                .and_then(|text| text.parse().ok())
                .ok_or(OnnxError::Malformed("a place in another file is no number"))
        };
        match key {
            b"location" => beside.location = value,
            b"offset" => beside.offset = number()?,
            b"length" => beside.length = Some(number()?),
            b"checksum" => beside.checksum = true,
            _ => {}
        }
        Ok(())
    }
}
