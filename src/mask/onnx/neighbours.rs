//! Which tensor of the base each use of an initialiser can be, by what stands
//! around it: the operator and the slot that read it, the other tensors that
//! the same node reads, and the convolution before a BatchNorm.

use std::collections::HashMap;

use super::model::{Model, Node};
use super::{OnnxError, reserve};
use crate::base::{Architecture, Role};
use crate::mask::Limits;

/// A longer chain of copies is nobody's export.
const LONGEST_CHAIN: usize = 8;

/// Something that reads an initialiser.
#[derive(Debug)]
pub(super) struct Use<'m> {
    /// The index of the initialiser.
    pub(super) initialiser: usize,
    /// The operator that reads it.
    pub(super) operator: &'m [u8],
    /// The tensors of the base that it can be here; none: nothing of the base stands here.
    pub(super) fitting: Vec<usize>,
}

/// All uses, in the order of their initialisers, of those initialisers that have a tensor of the base's content:
/// `candidates[i]` are the tensors of the content of initialiser `i`.
pub(super) fn uses<'m>(
    model: &'m Model,
    candidates: &[&[usize]],
    architecture: &Architecture,
    limits: &mut Limits,
) -> Result<Vec<Use<'m>>, OnnxError> {
    let layers = layers(architecture);
    let graph = Graph::of(model, limits)?;
    let mut possible = Vec::new();
    for node in &model.nodes {
        let possible_here = possible_layers(node, &graph, candidates, architecture, &layers);
        reserve(limits, size_of::<Vec<usize>>() + size_of_val(&possible_here[..]))?;
        possible.push(possible_here);
    }
    narrow_by_convolutions(model, &graph, &mut possible);

    let mut uses = Vec::new();
    for (node, possible) in model.nodes.iter().zip(&possible) {
        for (slot, name) in node.inputs.iter().enumerate() {
            let Some(initialiser) = graph.initialiser(name) else {
                continue;
            };
            if candidates[initialiser].is_empty() || passes_on(node, slot) || reads_no_value(node, slot) {
                continue;
            }
            let fits = |tensor: &usize| {
                belongs(node, slot, architecture.tensors[*tensor].role) && possible.contains(&layers[*tensor])
            };
            let fitting: Vec<usize> = candidates[initialiser].iter().copied().filter(fits).collect();
            reserve(limits, 2 * size_of::<Use>() + size_of_val(&fitting[..]))?;
            uses.push(Use {
                initialiser,
                operator: node.operator,
                fitting,
            });
        }
    }
    uses.sort_by_key(|one| one.initialiser);
    Ok(uses)
}

/// The layer of each tensor: those named alike up to the last dot are one layer.
fn layers(architecture: &Architecture) -> Vec<usize> {
    let module = |index: usize| {
        let name = &architecture.tensors[index].name;
        name.rsplit_once('.').map_or("", |(module, _)| module)
    };
    let mut layer = 0;
    let mut layers = Vec::new();
    for index in 0..architecture.tensors.len() {
        if index > 0 && module(index - 1) != module(index) {
            layer += 1;
        }
        layers.push(layer);
    }
    layers
}

/// Whether a tensor of that role is what `node` reads from that slot.
fn belongs(node: &Node, slot: usize, role: Role) -> bool {
    match (slot, role) {
        (1, Role::Convolution { .. } | Role::PatchEmbedding) => node.is(b"Conv"),
        (1, Role::Linear) => node.is(b"Gemm"),
        // Exporters turn a matrix for the MatMul that follows.
        (0, Role::Linear) => node.is(b"Transpose"),
        (2, Role::Bias) => node.is(b"Conv") || node.is(b"Gemm"),
        (1, Role::NormWeight) | (2, Role::NormBias) | (3, Role::NormMean) | (4, Role::NormVariance) => {
            node.is(b"BatchNormalization")
        }
        _ => false,
    }
}

/// Whether what comes out is what went in.
fn passes_on(node: &Node, slot: usize) -> bool {
    slot == 0 && node.is(b"Identity")
}

/// Whether only shape or type matter.
fn reads_no_value(node: &Node, slot: usize) -> bool {
    match slot {
        0 => node.is(b"Shape") || node.is(b"Size"),
        1 => node.is(b"CastLike"),
        _ => false,
    }
}

/// The layers that `node` can be: those that have a fitting tensor for everything that it reads.
fn possible_layers(
    node: &Node,
    graph: &Graph,
    candidates: &[&[usize]],
    architecture: &Architecture,
    layers: &[usize],
) -> Vec<usize> {
    let mut possible: Option<Vec<usize>> = None;
    let norm = node.is(b"BatchNormalization");
    let slots = if norm {
        1..=4
    } else if node.is(b"Conv") || node.is(b"Gemm") {
        1..=2
    } else if node.is(b"Transpose") {
        0..=0
    } else {
        return Vec::new();
    };
    for (slot, name) in node.inputs.iter().enumerate() {
        let Some(initialiser) = graph.initialiser(name).filter(|_| slots.contains(&slot)) else {
            continue;
        };
        let mut here: Vec<usize> = candidates[initialiser]
            .iter()
            .filter(|tensor| belongs(node, slot, architecture.tensors[**tensor].role))
            .map(|tensor| layers[*tensor])
            .collect();
        // Some exporters give a convolution without bias one of zeros.
        if here.is_empty() && slot == 2 && !norm {
            continue;
        }
        if let Some(before) = possible {
            here.retain(|layer| before.contains(layer));
        }
        possible = Some(here);
    }
    possible.unwrap_or_default()
}

/// A BatchNorm that follows a convolution in the graph follows it in the
/// architecture, too; so whichever of both is known tells the other.
fn narrow_by_convolutions(model: &Model, graph: &Graph, possible: &mut [Vec<usize>]) {
    for (norm, node) in model.nodes.iter().enumerate() {
        let before = node.inputs.first().and_then(|name| graph.producer(name));
        let Some(convolution) = before.filter(|before| model.nodes[*before].is(b"Conv")) else {
            continue;
        };
        if !node.is(b"BatchNormalization") {
            continue;
        }
        let follow = |norm: usize, convolution: usize| norm == convolution + 1;
        let (norms, convolutions) = (possible[norm].clone(), possible[convolution].clone());
        possible[norm].retain(|norm| {
            norms.len() == 1 || convolutions.iter().any(|convolution| follow(*norm, *convolution))
        });
        possible[convolution].retain(|convolution| {
            convolutions.len() == 1 || norms.iter().any(|norm| follow(*norm, *convolution))
        });
    }
}

/// Who gives what is called so.
struct Graph<'m> {
    model: &'m Model<'m>,
    initialisers: HashMap<&'m [u8], usize>,
    producers: HashMap<&'m [u8], usize>,
}

impl<'m> Graph<'m> {
    fn of(model: &'m Model, limits: &mut Limits) -> Result<Self, OnnxError> {
        // What a hash map takes an entry, with room to grow.
        let mut entry = || reserve(limits, 4 * size_of::<(&[u8], usize)>());
        let mut initialisers = HashMap::new();
        for (index, tensor) in model.initialisers.iter().enumerate() {
            entry()?;
            if initialisers.insert(tensor.name, index).is_some() {
                return Err(OnnxError::Malformed("two initialisers of one name"));
            }
        }
        let mut producers = HashMap::new();
        for (index, node) in model.nodes.iter().enumerate() {
            for output in node.outputs.iter().filter(|name| !name.is_empty()) {
                entry()?;
                if producers.insert(*output, index).is_some() || initialisers.contains_key(output) {
                    return Err(OnnxError::Malformed("two values of one name"));
                }
            }
        }
        Ok(Self {
            model,
            initialisers,
            producers,
        })
    }

    /// Follows copies to what is copied.
    fn origin(&self, name: &'m [u8]) -> &'m [u8] {
        let mut name = name;
        for _ in 0..LONGEST_CHAIN {
            match self.producers.get(name).map(|node| &self.model.nodes[*node]) {
                Some(node) if node.is(b"Identity") && node.inputs.len() == 1 => name = node.inputs[0],
                _ => break,
            }
        }
        name
    }

    fn initialiser(&self, name: &'m [u8]) -> Option<usize> {
        self.initialisers.get(self.origin(name)).copied()
    }

    fn producer(&self, name: &'m [u8]) -> Option<usize> {
        self.producers.get(self.origin(name)).copied()
    }
}
