//! Where libtorch computes: the CPU, or an NVIDIA card chosen at run time.

use std::str::FromStr;
use std::sync::Once;

use super::TrainError;
use crate::mask::ExecutionProfile;

/// The libtorch that tch 0.26 is made for; said where the loaded one does not tell its version.
const EXPECTED_LIBTORCH: &str = "2.13.0";

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
        // libtorch refuses a second call. Between operations there is nothing to gain, only another order of things.
        static INTEROP: Once = Once::new();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = if threads == 0 { cores } else { threads };
        INTEROP.call_once(|| tch::set_num_interop_threads(1));
        tch::set_num_threads(i32::try_from(threads).unwrap_or(i32::MAX));
        let missing = |given: String, reason| Err(TrainError::Device { given, reason });
        match self {
            Self::Auto if load_cuda() => Ok(tch::Device::Cuda(0)),
            Self::Auto | Self::Cpu => Ok(tch::Device::Cpu),
            Self::Cuda(number) if !load_cuda() => missing(
                format!("cuda:{number}"),
                "this libtorch has no CUDA or there is no card",
            ),
            Self::Cuda(number) if number < cards() => Ok(tch::Device::Cuda(number)),
            Self::Cuda(number) => missing(format!("cuda:{number}"), "there are fewer cards"),
        }
    }
}

/// How many NVIDIA cards libtorch can use.
pub fn cards() -> usize {
    if load_cuda() {
        usize::try_from(tch::Cuda::device_count()).unwrap_or(0)
    } else {
        0
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
        libtorch: libtorch_version(),
        device: describe(device).0,
        threads: u32::try_from(tch::get_num_threads()).unwrap_or(1),
        instructions: instructions().to_owned(),
    }
}

/// A device's name for people, such as `cpu` or `cuda:0 NVIDIA H100 PCIe`, and its memory in bytes (0: not known).
pub fn describe(device: tch::Device) -> (String, u64) {
    match device {
        tch::Device::Cuda(number) => match card(number) {
            Some((name, memory)) => (format!("cuda:{number} {name}"), memory),
            None => (format!("cuda:{number}"), 0),
        },
        _ => ("cpu".to_owned(), system_memory()),
    }
}

/// The version of the libtorch that is loaded, by its stable C interface; tch has no function for it.
fn libtorch_version() -> String {
    use libloading::os::unix::Library;
    // SAFETY: the function takes nothing and answers a number; so it is declared in libtorch's shim.h.
    #[expect(unsafe_code, reason = "there is no safe way to call a function by its name")]
    let version = unsafe {
        Library::this()
            .get::<unsafe extern "C" fn() -> u64>(b"aoti_torch_abi_version\0")
            .map(|version| version())
    };
    match version {
        Ok(version) => {
            let part = |at: u32| version >> at & 0xff;
            format!("{}.{}.{}", part(56), part(48), part(40))
        }
        Err(_) => EXPECTED_LIBTORCH.to_owned(),
    }
}

/// The model and the memory in bytes of an NVIDIA card, as its driver says.
fn card(number: usize) -> Option<(String, u64)> {
    use std::ffi::{CStr, c_char, c_int};

    type Init = unsafe extern "C" fn(u32) -> c_int;
    type Get = unsafe extern "C" fn(*mut c_int, c_int) -> c_int;
    type Name = unsafe extern "C" fn(*mut c_char, c_int, c_int) -> c_int;
    type Memory = unsafe extern "C" fn(*mut usize, c_int) -> c_int;
    const LONGEST: usize = 128;

    let number = c_int::try_from(number).ok()?;
    // SAFETY: the driver's functions as declared in cuda.h; each gets room for what it writes,
    // and each answer is used only after the driver said 0, success.
    #[expect(unsafe_code, reason = "the driver is a C library, opened by name")]
    unsafe {
        let driver = libloading::Library::new("libcuda.so.1").ok()?;
        let (mut card, mut name, mut memory) = (0, [0; LONGEST], 0);
        let said = [
            driver.get::<Init>(b"cuInit\0").ok()?(0),
            driver.get::<Get>(b"cuDeviceGet\0").ok()?(&raw mut card, number),
            driver.get::<Name>(b"cuDeviceGetName\0").ok()?(name.as_mut_ptr(), LONGEST as c_int - 1, card),
            driver.get::<Memory>(b"cuDeviceTotalMem_v2\0").ok()?(&raw mut memory, card),
        ];
        if said != [0; 4] {
            return None;
        }
        let name = CStr::from_ptr(name.as_ptr()).to_string_lossy().into_owned();
        Some((name, memory as u64))
    }
}

/// The machine's memory in bytes.
fn system_memory() -> u64 {
    let told = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = told.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kilobytes = total.and_then(|total| total.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
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

    #[test]
    fn the_profile_names_the_libtorch_that_is_loaded() {
        let device = DeviceChoice::Cpu.open(1).unwrap();
        let again = DeviceChoice::Cpu.open(1).unwrap();
        assert_eq!(device, again);
        let profile = profile(device);
        assert_eq!((profile.device.as_str(), profile.threads), ("cpu", 1));
        assert_eq!(profile.libtorch, EXPECTED_LIBTORCH);
        assert!(describe(device).1 > 1 << 28, "a machine has memory");
    }
}
