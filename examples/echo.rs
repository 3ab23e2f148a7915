//! A TCP echo server on port 7, over a TAP device:
//!
//! ```sh
//! sudo ip tuntap add tap0 mode tap user $USER
//! sudo ip addr add 10.0.0.1/24 dev tap0 && sudo ip link set tap0 up
//! cargo run --release --example echo &
//! nc 10.0.0.2 7
//! ```

use std::error::Error;

use pollwire::host::{MonotonicClock, entropy};
use pollwire::rings::{NetDevice, local_mac, tap};
use pollwire::{Config, NetCell, Runtime, Stack, TcpListener};

fn main() -> Result<(), Box<dyn Error>> {
    let device = tap::Tap::open("tap0", local_mac(1), tap::Offloads::ALL)?;
    let config = Config::new("10.0.0.2/24".parse()?, entropy()?);
    let cell = NetCell::new(Stack::on_heap::<4096, 1024, 2048>(&config, device.caps()));
    Runtime::new(&cell, device, MonotonicClock::new()).block_on(|net| async move {
        let listener = TcpListener::bind(net, "0.0.0.0:7".parse()?)?;
        loop {
            let flow = listener.accept().await?;
            let served = async move {
                while let Some(frame) = flow.recv().await? {
                    flow.send(frame).await?; // the same frame, no copy
                }
                flow.close().await
            };
            net.spawn(served).detach();
        }
    })
}
