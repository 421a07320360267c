//! `edge embed`: what a device feeds its masked network is what training fed it.

use katagami::domain::View;
use katagami::mask::{Header, Limits, decode, encode};
use safetensors::SafeTensors;

use super::Device;
use crate::worker::pictures;

#[test]
fn a_device_embeds_through_the_view_of_its_mask() {
    let device = Device::new();
    device.world().releases(1);
    {
        let mut world = device.world();
        let (base, _) = world.base();
        let (version, plain) = world.release.clone().unwrap();
        let artefact = decode(&plain, Limits::default()).unwrap();
        let mask = artefact.mask(&base).unwrap();
        let header = Header {
            view: View::parse(r#"{"tiles": {"columns": 2, "rows": 2}, "size": 32}"#).unwrap(),
            ..artefact.header
        };
        world.release = Some((version, encode(&header, &mask, &base).unwrap()));
    }
    device.pulled();
    let picture = pictures(device.folder.path(), 1).join("0.pgm");
    let input = device.folder.path().join("input.safetensors");
    let [picture, path] = [&picture, &input].map(|path| path.to_str().unwrap());
    let embedded = device
        .edge("embed", &["--save-input", path, picture])
        .good()
        .json();
    assert_eq!(embedded["embedding"].as_array().unwrap().len(), 1280);
    let file = std::fs::read(&input).unwrap();
    let tensors = SafeTensors::deserialize(&file).unwrap();
    assert_eq!(tensors.tensor("input").unwrap().shape(), [4, 3, 32, 32]);
}
