// SPDX-License-Identifier: MIT OR Apache-2.0
//! Text from and to the host, and logs, over RTT: nothing waits for a host that does not read.

use rtt_target::{ChannelMode, DownChannel, UpChannel, rtt_init, set_defmt_channel};

/// Text from and to the host: RTT's down channel 0 and up channel 1.
pub struct Console {
    commands: DownChannel,
    replies: UpChannel,
}

impl Console {
    /// Brings up RTT: logs (defmt on up channel 0) and the console. Called once, first.
    ///
    /// # Panics
    ///
    /// When it is called a second time.
    pub fn start() -> Self {
        let channels = rtt_init! {
            up: {
                0: { size: 4096, mode: ChannelMode::NoBlockSkip, name: "defmt" }
                1: { size: 2048, mode: ChannelMode::NoBlockSkip, name: "replies" }
            }
            down: { 0: { size: 256, name: "commands" } }
        };
        set_defmt_channel(channels.up.0);
        Self {
            commands: channels.down.0,
            replies: channels.up.1,
        }
    }

    /// Bytes that the host sent, as many as fit.
    pub fn read(&mut self, bytes: &mut [u8]) -> usize {
        self.commands.read(bytes)
    }

    /// Sends all of the bytes or, when there is no room, none.
    pub fn write(&mut self, bytes: &[u8]) {
        self.replies.write(bytes);
    }
}
