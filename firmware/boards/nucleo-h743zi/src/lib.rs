// SPDX-License-Identifier: MIT OR Apache-2.0
//! ST's NUCLEO-H743ZI2: pins, clocks and devices, no application. **Compiles; untried on hardware.**
#![no_std]

pub mod ethernet;
pub mod flash;
pub mod pins;
pub mod random;
pub mod timing;
pub mod watchdog;

use core::mem::MaybeUninit;

use board_runtime::{Clock, Console};
use ethernet::{Ethernet, FRAMES};
use flash::Flash;
use pins::{In, Out, Pulses};
use random::Random;
use stm32h7xx_hal::ethernet::phy::LAN8742A;
use stm32h7xx_hal::ethernet::{DesRing, PHY};
use stm32h7xx_hal::flash::FlashExt;
use stm32h7xx_hal::pac;
use stm32h7xx_hal::prelude::*;
use stm32h7xx_hal::signature::Uid;
use timing::Timing;
use watchdog::Watchdog;

/// Bytes for the application's buffers.
const HEAP_BYTES: usize = 256 * 1024;

/// Cycles of the core in a second, and counts of the timer.
const CORE_HERTZ: u32 = 200_000_000;

/// Everything the board has, each part once.
pub struct Board {
    /// Text from and to the host.
    pub console: Console,
    /// Milliseconds since the start.
    pub clock: Clock,
    /// The relay.
    pub relay: Out,
    /// Shows that the application runs.
    pub signal: Out,
    /// The button of the user.
    pub button: In,
    /// Pulses of the meter.
    pub pulses: Pulses,
    /// The partition of the settings.
    pub settings: Flash,
    /// Random numbers of the chip.
    pub random: Random,
    /// The network.
    pub ethernet: Ethernet,
    /// Edges and pulses of the timing probe.
    pub timing: Timing,
    /// Starts the board anew when the application hangs.
    pub watchdog: Watchdog,
}

impl Board {
    /// Brings up logs, heap, clocks and all parts.
    ///
    /// # Panics
    ///
    /// When it is called a second time.
    pub fn start() -> Self {
        let console = Console::start();
        let heap = cortex_m::singleton!(HEAP: [MaybeUninit<u8>; HEAP_BYTES] = [MaybeUninit::uninit(); HEAP_BYTES]);
        board_runtime::give_heap(heap.expect("the board is started once"));
        let mut core = cortex_m::Peripherals::take().expect("the board is started once");
        let chip = pac::Peripherals::take().expect("the board is started once");

        let power = chip.PWR.constrain().freeze();
        // The memory of the Ethernet's descriptors.
        chip.RCC.ahb2enr.modify(|_, w| w.sram3en().set_bit());
        let clocks = chip
            .RCC
            .constrain()
            .sys_ck(CORE_HERTZ.Hz())
            .hclk(CORE_HERTZ.Hz())
            .freeze(power, &chip.SYSCFG);
        // The data cache stays off: it would not see what the Ethernet's DMA writes.
        core.SCB.enable_icache();
        let parts = clocks.peripheral;
        let a = chip.GPIOA.split(parts.GPIOA);
        let b = chip.GPIOB.split(parts.GPIOB);
        let c = chip.GPIOC.split(parts.GPIOC);
        let f = chip.GPIOF.split(parts.GPIOF);
        let g = chip.GPIOG.split(parts.GPIOG);

        let address = ethernet::local_address(Uid::read());
        #[unsafe(link_section = ".sram3.ethernet")]
        static mut RING: MaybeUninit<DesRing<FRAMES, FRAMES>> = MaybeUninit::uninit();
        let ring: *mut MaybeUninit<DesRing<FRAMES, FRAMES>> = &raw mut RING;
        // SAFETY: the static is named here only, and this place is reached once: the peripherals are taken.
        let ring = unsafe { &mut *ring }.write(DesRing::new());
        let (dma, mac) = stm32h7xx_hal::ethernet::new(
            chip.ETHERNET_MAC,
            chip.ETHERNET_MTL,
            chip.ETHERNET_DMA,
            (
                a.pa1.into_alternate(),
                a.pa2.into_alternate(),
                c.pc1.into_alternate(),
                a.pa7.into_alternate(),
                c.pc4.into_alternate(),
                c.pc5.into_alternate(),
                g.pg11.into_alternate(),
                g.pg13.into_alternate(),
                b.pb13.into_alternate(),
            ),
            ring,
            smoltcp_hal::wire::EthernetAddress(address),
            parts.ETH1MAC,
            &clocks.clocks,
        );
        let mut phy = LAN8742A::new(mac.set_phy_addr(0));
        phy.phy_reset();
        phy.phy_init();

        let (mut syscfg, mut exti) = (chip.SYSCFG, chip.EXTI);
        let (_, bank_2) = chip.FLASH.split();
        Self {
            console,
            clock: Clock::start(core.SYST, CORE_HERTZ),
            relay: Out(f.pf12.into_push_pull_output().erase()),
            signal: Out(b.pb0.into_push_pull_output().erase()),
            button: In(c.pc13.into_floating_input().erase()),
            pulses: Pulses::start(f.pf15.into_pull_up_input(), &mut syscfg, &mut exti),
            settings: Flash(bank_2.expect("the chip has two banks")),
            random: Random(chip.RNG.constrain(parts.RNG, &clocks.clocks)),
            ethernet: Ethernet { dma, phy, address },
            timing: timing::start(
                chip.TIM2,
                parts.TIM2,
                a.pa0.into_alternate(),
                b.pb10.into_alternate(),
            ),
            watchdog: Watchdog::new(chip.IWDG, &chip.DBGMCU),
        }
    }
}
