//! Where libtorch computes: the CPU, or an NVIDIA card chosen at run time.

use std::str::FromStr;

use super::TrainError;
use crate::mask::ExecutionProfile;

/// The libtorch that this program is built against; `scripts/libtorch.sh` fetches it.
const LIBTORCH: &str = "2.13.0";

/// A device as asked for on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first NVIDIA card if there is one, else the CPU.
    Auto,
    /// The CPU.
    Cpu,
    /// An NVIDIA card by its number.
    Cuda(usize),
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => text
                .strip_prefix("cuda:")
                .and_then(|number| number.parse().ok())
                .map(Self::Cuda)
                .ok_or_else(|| format!("`{text}` is no device; use auto, cpu or cuda:N")),
        }
    }
}

impl DeviceChoice {
    /// Opens the device and fixes the number of threads (0: all cores), on
    /// which the bits of a training depend.
    pub fn open(self, threads: usize) -> Result<tch::Device, TrainError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = if threads == 0 { cores } else { threads };
        tch::set_num_threads(i32::try_from(threads).unwrap_or(i32::MAX));
        let missing = |given: String, reason| Err(TrainError::Device { given, reason });
        match self {
            Self::Auto if load_cuda() => Ok(tch::Device::Cuda(0)),
            Self::Auto | Self::Cpu => Ok(tch::Device::Cpu),
            Self::Cuda(number) if !load_cuda() => missing(
                format!("cuda:{number}"),
                "this libtorch has no CUDA or there is no card",
            ),
            Self::Cuda(number)
                if i64::try_from(number).is_ok_and(|number| number < tch::Cuda::device_count()) =>
            {
                Ok(tch::Device::Cuda(number))
            }
            Self::Cuda(number) => missing(format!("cuda:{number}"), "there are fewer cards"),
        }
    }
}

/// Loads libtorch's CUDA part, if it is installed, and says whether a card answers.
///
/// It is opened here and never linked: the linker would drop it, since no
/// symbol of it is used by name, and one build serves both kinds of machine.
fn load_cuda() -> bool {
    use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
    // SAFETY: libtorch's own library; its initialisers register kernels and nothing else.
    #[expect(unsafe_code, reason = "there is no safe way to open a library")]
    let opened = unsafe { Library::open(Some("libtorch_cuda.so"), RTLD_NOW | RTLD_GLOBAL) };
    match opened {
        Ok(library) => {
            // Kernels stay registered until the process ends, so the library must stay, too.
            std::mem::forget(library);
            tch::Cuda::is_available()
        }
        Err(_) => false,
    }
}

/// What bit-equality of a training on `device` is promised for.
pub fn profile(device: tch::Device) -> ExecutionProfile {
    ExecutionProfile {
        libtorch: LIBTORCH.to_owned(),
        device: match device {
            tch::Device::Cuda(number) => format!("cuda:{number}"),
            _ => "cpu".to_owned(),
        },
        threads: u32::try_from(tch::get_num_threads()).unwrap_or(1),
        instructions: instructions().to_owned(),
    }
}

fn instructions() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx512f") {
            return "avx512";
        }
        if std::arch::is_x86_feature_detected!("avx2") {
            return "avx2";
        }
    }
    std::env::consts::ARCH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_have_the_names_that_people_type() {
        assert_eq!("cuda:3".parse(), Ok(DeviceChoice::Cuda(3)));
        assert_eq!("auto".parse(), Ok(DeviceChoice::Auto));
        assert!("gpu".parse::<DeviceChoice>().is_err());
    }
}
