//! The crops of an image and their colours.

use serde::{Deserialize, Serialize};

use super::is_default;

/// The crops of an image and their colours.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AugmentRule {
    /// Brightness is multiplied by 1 ± this.
    pub brightness: f64,
    /// Contrast is multiplied by 1 ± this.
    pub contrast: f64,
    /// Crops from which codes are computed.
    pub large: CropRule,
    /// Crops from which the codes of the large ones are predicted, too.
    pub small: CropRule,
    /// Saturation is multiplied by 1 ± this. Default 0. With it or hue, the four changes are those of
    /// torchvision's `ColorJitter`, in an order that is drawn for each crop.
    #[serde(default, skip_serializing_if = "is_default")]
    pub saturation: f64,
    /// The hue turns by ± this share of the circle. Default 0.
    #[serde(default, skip_serializing_if = "is_default")]
    pub hue: f64,
    /// The share of crops that keep their colours: no jitter at all. Default 0.
    #[serde(default, skip_serializing_if = "is_default")]
    pub unjittered: f64,
    /// The share of crops that become grey. Default 0.
    #[serde(default, skip_serializing_if = "is_default")]
    pub grey: f64,
    /// The share of crops that are blurred, by a Gaussian of .1 to 2 pixels. Default 0.
    #[serde(default, skip_serializing_if = "is_default")]
    pub blur: f64,
    /// Which flips are drawn. Default both.
    #[serde(default, skip_serializing_if = "is_default")]
    pub flips: Flips,
}

impl AugmentRule {
    /// The same with crops of whole patches of `patch` pixels: the least that are not smaller.
    #[must_use]
    pub fn in_patches(mut self, patch: u32) -> Self {
        for crop in [&mut self.large, &mut self.small] {
            crop.size = crop.size.next_multiple_of(patch);
        }
        self
    }
}

/// Which flips are drawn, each with an even chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Flips {
    /// Left to right and upside down: parts on a conveyor have no upside.
    #[default]
    Both,
    /// Left to right only, for pictures of the world.
    Horizontal,
}

/// One kind of crop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CropRule {
    /// How many of each image.
    pub count: usize,
    /// Edge length in pixels. A network of patches is given whole ones: 96 becomes 98 where a patch has 14.
    pub size: u32,
    /// Least and greatest share of the image's area.
    pub scale: [f64; 2],
}
