//! hvt stub
use crate::net::Device;
use crate::options::Options;
use pollwire_tender::image::Image;
pub(crate) fn run(_: &Image, _: &[u8], _: &[Device], _: &Options) -> Result<u8, String> {
    Err("hvt".into())
}
