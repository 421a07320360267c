//! A small exporter: an ONNX model of a chain of convolutions with BatchNorm.

use std::path::Path;

use prost::Message;

use crate::base::architecture::{Colours, Plan};
use crate::base::{Architecture, Role, TensorSpec, Weights};

#[derive(Clone, PartialEq, Message)]
pub(super) struct Model {
    #[prost(string, tag = "2")]
    pub(super) producer_name: String,
    #[prost(message, required, tag = "7")]
    pub(super) graph: Graph,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Graph {
    #[prost(message, repeated, tag = "1")]
    pub(super) node: Vec<Node>,
    #[prost(message, repeated, tag = "5")]
    pub(super) initializer: Vec<Tensor>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Node {
    #[prost(string, repeated, tag = "1")]
    pub(super) input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub(super) output: Vec<String>,
    #[prost(string, tag = "4")]
    pub(super) op_type: String,
    #[prost(message, repeated, tag = "5")]
    pub(super) attribute: Vec<Attribute>,
    #[prost(string, tag = "7")]
    pub(super) domain: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Attribute {
    #[prost(message, optional, tag = "5")]
    pub(super) t: Option<Tensor>,
    /// A graph, encoded.
    #[prost(bytes = "vec", optional, tag = "6")]
    pub(super) g: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Tensor {
    #[prost(int64, repeated, tag = "1")]
    pub(super) dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    pub(super) data_type: i32,
    #[prost(float, repeated, tag = "4")]
    pub(super) float_data: Vec<f32>,
    #[prost(string, tag = "8")]
    pub(super) name: String,
    #[prost(bytes = "vec", tag = "9")]
    pub(super) raw_data: Vec<u8>,
    #[prost(message, repeated, tag = "13")]
    pub(super) external_data: Vec<Entry>,
    #[prost(int32, tag = "14")]
    pub(super) data_location: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Entry {
    #[prost(string, tag = "1")]
    pub(super) key: String,
    #[prost(string, tag = "2")]
    pub(super) value: String,
}

/// An architecture of two convolutions, each with its BatchNorm.
pub(super) fn tiny() -> &'static Architecture {
    let spec = |name: &str, shape: &[usize], role| TensorSpec {
        name: name.to_owned(),
        shape: shape.to_owned(),
        role,
    };
    let tensors = [1, 2].into_iter().flat_map(|layer| {
        let norm = |part: &str, role| spec(&format!("bn{layer}.{part}"), &[4], role);
        [
            spec(
                &format!("conv{layer}.weight"),
                &[4, 4, 1, 1],
                Role::Convolution { groups: 1 },
            ),
            norm("weight", Role::NormWeight),
            norm("bias", Role::NormBias),
            norm("running_mean", Role::NormMean),
            norm("running_var", Role::NormVariance),
        ]
    });
    Box::leak(Box::new(Architecture {
        name: "tiny",
        tensors: tensors.collect(),
        plan: Plan::EfficientNetLite { stages: vec![] },
        embedding_dim: 4,
        nominal_size: 32,
        colours: Colours::ImageNet,
    }))
}

/// Weights of [`tiny`], all different from each other.
pub(super) fn base() -> Weights {
    let architecture = tiny();
    let value = |tensor: usize, element: usize| 0.25 + (tensor * 100 + element) as f32;
    let values = architecture.tensors.iter().enumerate();
    Weights {
        values: values
            .map(|(tensor, spec)| (0..spec.len()).map(|element| value(tensor, element)).collect())
            .collect(),
        architecture,
    }
}

/// `base` with one more changed element in each of `tensors`.
pub(super) fn masked(base: &Weights, tensors: &[&str]) -> Weights {
    let mut masked = base.clone();
    for (number, name) in tensors.iter().enumerate() {
        let tensor = base.architecture.index_of(name).unwrap();
        masked.values[tensor][1 + number % 2] = 0.0;
    }
    masked
}

/// An export of `weights`, as PyTorch makes it with BatchNorm left alone.
pub(super) fn export(weights: &Weights) -> Model {
    let names: Vec<&str> = (weights.architecture.tensors.iter())
        .map(|spec| &spec.name[..])
        .collect();
    let initializer = (weights.architecture.tensors.iter())
        .zip(&weights.values)
        .map(|(spec, values)| tensor(&spec.name, &spec.shape, values));
    let mut node = Vec::new();
    let mut before = "x".to_owned();
    for layer in names.chunks(5) {
        let (convolved, normed) = (format!("{}_out", layer[0]), format!("{}_out", layer[1]));
        node.push(reading("Conv", &[&before, layer[0]], &convolved));
        let mut inputs = vec![&convolved[..]];
        inputs.extend(&layer[1..]);
        node.push(reading("BatchNormalization", &inputs, &normed));
        before = format!("{normed}_relu");
        node.push(reading("Relu", &[&normed], &before));
    }
    Model {
        producer_name: "a test".to_owned(),
        graph: Graph {
            node,
            initializer: initializer.collect(),
        },
    }
}

pub(super) fn tensor(name: &str, shape: &[usize], values: &[f32]) -> Tensor {
    Tensor {
        dims: shape.iter().map(|dim| *dim as i64).collect(),
        data_type: 1,
        name: name.to_owned(),
        raw_data: bytes_of(values),
        ..Tensor::default()
    }
}

pub(super) fn reading(operator: &str, inputs: &[&str], output: &str) -> Node {
    Node {
        op_type: operator.to_owned(),
        input: inputs.iter().map(|&input| input.to_owned()).collect(),
        output: vec![output.to_owned()],
        ..Node::default()
    }
}

pub(super) fn bytes_of(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

impl Model {
    pub(super) fn initialiser(&mut self, name: &str) -> &mut Tensor {
        (self.graph.initializer.iter_mut())
            .find(|tensor| tensor.name == name)
            .unwrap()
    }

    pub(super) fn without(mut self, name: &str) -> Self {
        self.graph.initializer.retain(|tensor| tensor.name != name);
        self
    }

    /// Makes every node that reads `before` read `after`.
    pub(super) fn rewired(mut self, before: &str, after: &str) -> Self {
        (self.graph.node.iter_mut())
            .flat_map(|node| &mut node.input)
            .filter(|input| *input == before)
            .for_each(|input| after.clone_into(input));
        self
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        self.encode_to_vec()
    }

    /// Moves the data of the initialisers `names` into the file `location` in
    /// `folder`, each after 16 other bytes.
    pub(super) fn move_beside(&mut self, names: &[&str], folder: &Path, location: &str) {
        let mut file = Vec::new();
        for name in names {
            file.extend([0xee; 16]);
            let tensor = self.initialiser(name);
            let data = std::mem::take(&mut tensor.raw_data);
            let (offset, length) = (file.len().to_string(), data.len().to_string());
            tensor.beside(&[("location", location), ("offset", &offset), ("length", &length)]);
            file.extend(data);
        }
        let path = folder.join(location);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, file).unwrap();
    }
}

impl Tensor {
    pub(super) fn beside(&mut self, entries: &[(&str, &str)]) {
        self.raw_data.clear();
        self.data_location = 1;
        self.external_data = (entries.iter())
            .map(|(key, value)| Entry {
                key: (*key).to_owned(),
                value: (*value).to_owned(),
            })
            .collect();
    }
}
