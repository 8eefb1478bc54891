// SPDX-License-Identifier: GPL-2.0

//! Guests: a kernel in a QEMU, with the devices that a test asks for, and a shell to drive it.

mod accelerator;
mod agent;
mod board;
mod complaints;
mod count;
mod cpio;
mod end;
mod hang;
mod initramfs;
mod migrate;
mod programs;
mod qmp;
mod root;
mod stall;

pub use accelerator::accelerator;
pub use agent::Output;
pub use board::Board;
pub use complaints::{NO_IRQ_FILES, NO_TAGS};
pub use count::{Idle, WINDOW};
pub use stall::stalled_logs;

use crate::{kernel::Kernel, paths::Scratch, program::Program};
use agent::Agent;
use anyhow::{Context, Result, ensure};
use initramfs::Contents;
use qmp::Qmp;
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

/// How long a guest may take to boot, with other guests beside it.
const BOOT_LIMIT: Duration = Duration::from_secs(120);

/// The guests of this process, for whoever looks into a hang.
static GUESTS: Mutex<Vec<Weak<Guest>>> = Mutex::new(Vec::new());

/// A directory that a guest sees.
#[derive(Clone, Debug)]
struct Share {
    directory: PathBuf,
    tag: String,
    /// What QEMU is told beside the rest.
    options: &'static str,
}

/// A guest to be.
#[derive(Clone, Debug)]
pub struct Builder {
    kernel: Kernel,
    name: String,
    board: Board,
    memory: u32,
    cpus: u32,
    devices: Vec<String>,
    append: Vec<String>,
    shares: Vec<Share>,
    contents: Contents,
    /// How long it may take to boot, before it is booted again.
    stall: Duration,
    /// Where its instructions are counted to: see `count`.
    counts: Option<(PathBuf, Idle)>,
    /// Where it comes from: see `migrate`.
    incoming: Option<String>,
}

impl Builder {
    /// A guest with two CPUs and without devices.
    pub fn new(kernel: &Kernel) -> Self {
        Self {
            kernel: kernel.clone(),
            name: "guest".to_owned(),
            board: Board::of(kernel.arch),
            memory: if kernel.is_debug() { 1024 } else { 512 },
            cpus: 2,
            devices: Vec::new(),
            append: Vec::new(),
            shares: Vec::new(),
            contents: Contents::default(),
            stall: stall::limit(kernel),
            counts: None,
            incoming: None,
        }
    }

    /// Names the guest, where a test has several: its log is called after it.
    pub fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Sets how long it may take to boot, before it is booted again.
    pub fn stall(mut self, limit: Duration) -> Self {
        self.stall = limit;
        self
    }

    /// Sets the memory, in MiB.
    pub fn memory(mut self, mebibytes: u32) -> Self {
        self.memory = mebibytes;
        self
    }

    /// Sets the number of CPUs.
    pub fn cpus(mut self, cpus: u32) -> Self {
        self.cpus = cpus;
        self
    }

    /// Adds a device, as QEMU's option `-device` takes it.
    pub fn device(self, device: &str) -> Self {
        self.qemu(&["-device", device])
    }

    /// Adds options of QEMU.
    pub fn qemu(mut self, options: &[&str]) -> Self {
        self.devices.extend(options.iter().map(ToString::to_string));
        self
    }

    /// Adds to the kernel's command line.
    pub fn append(mut self, parameter: &str) -> Self {
        self.append.push(parameter.to_owned());
        self
    }

    /// Adds a program of the toolbox to what busybox has; or one that was built here, by its path.
    pub fn tool(mut self, name: &str) -> Self {
        self.contents.tools.push(name.to_owned());
        self
    }

    /// Adds a program of this workspace.
    pub fn built(self, name: &str) -> Result<Self> {
        let path = self.kernel.built_program(name)?;
        Ok(self.tool(&path.to_string_lossy()))
    }

    /// Adds a module that comes with the kernel, and those that it needs.
    pub fn kernel_module(mut self, name: &str) -> Self {
        self.contents.kernel_modules.push(name.to_owned());
        self
    }

    /// Adds a module that was built here for this kernel. If it is one of the drivers for users, it
    /// claims all devices.
    pub fn module(mut self, name: &str) -> Result<Self> {
        if name.ends_with("_rs") {
            self.append.push(format!("{name}.claim=all"));
        }
        self.module_as_is(name)
    }

    /// Adds a module that was built here for this kernel, without parameters.
    pub fn module_as_is(mut self, name: &str) -> Result<Self> {
        let path = self.kernel.built_module(name)?;
        self.contents.modules.push(path);
        Ok(self)
    }

    /// Adds the file of a module.
    pub fn module_file(mut self, path: &Path) -> Self {
        self.contents.modules.push(path.to_owned());
        self
    }

    /// Adds a file.
    pub fn file(mut self, path: &str, content: &[u8]) -> Self {
        self.contents
            .files
            .push((path.to_owned(), content.to_owned()));
        self
    }

    /// Shares a directory of the host: it is on `/mnt/TAG` of the guest.
    pub fn share(mut self, directory: &Path, tag: &str) -> Self {
        self.shares.push(Share {
            directory: directory.to_owned(),
            tag: tag.to_owned(),
            options: "",
        });
        self.kernel_module("9pnet_virtio").kernel_module("9p")
    }

    /// Shows it the toolbox: that is on `/mnt/toolbox`, and cannot be written.
    pub fn toolbox(mut self) -> Self {
        self.shares.push(Share {
            directory: PathBuf::from("/"),
            tag: "toolbox".to_owned(),
            options: ",readonly=on",
        });
        self.kernel_module("9pnet_virtio").kernel_module("9p")
    }

    /// Returns the command that starts QEMU. Its sockets are in `sockets`, its log in `log`.
    fn command(&self, sockets: &Path, log: &Path) -> Command {
        let memory = self.memory;
        let socket = |name: &str| {
            format!(
                "socket,id={name},path={}/{name},server=on,wait=off",
                sockets.display()
            )
        };
        let mut append = format!(
            "{} loglevel=5 printk.time=1 panic=-1 nokaslr sysrq_always_enabled {}",
            self.board.basics(),
            self.append.join(" ")
        );
        if self.kernel.is_debug() {
            // By default, KASAN reports only once, and KUnit runs nothing.
            append.push_str(" kasan_multi_shot kunit.enable=1 kunit.autorun=1");
        }

        let mut command = Command::new(self.board.qemu());
        command
            .args([
                "-nodefaults",
                "-no-user-config",
                "-no-reboot",
                "-display",
                "none",
            ])
            .args(["-cpu", self.board.cpu()])
            .args(["-smp", &self.cpus.to_string(), "-m", &format!("{memory}M")])
            .arg("-kernel")
            .arg(&self.kernel.image)
            .arg("-initrd")
            .arg(sockets.join("initrd"))
            .args(["-append", append.trim()])
            .args([
                "-chardev",
                &format!(
                    "{},logfile={},logappend=on",
                    socket("console"),
                    log.display()
                ),
            ])
            .args(["-serial", "chardev:console"])
            .args(["-chardev", &socket("agent")])
            .args(self.board.second_port("agent"))
            .args([
                "-chardev",
                &socket("qmp"),
                "-object",
                "monitor-qmp,id=monitor,chardev=qmp",
            ])
            .args(["-chardev", &socket("gdb"), "-gdb", "chardev:gdb"]);
        // Of two models of the CPU, the last one counts.
        match &self.counts {
            Some((counts, idle)) => command
                .args(["-accel", "tcg"])
                .args(Self::count_options(counts, *idle)),
            None => command.args(["-accel", self.board.accelerator()]),
        };
        // A vhost-user device's backend maps the memory of the guest.
        let mut devices = self.devices.iter();
        let mut machine = self.board.machine().to_owned();
        if devices.any(|device| device.contains("vhost-user")) {
            machine += ",memory-backend=memory";
            let backend = format!("memory-backend-memfd,id=memory,size={memory}M,share=on");
            command.args(["-object", &backend]);
        }
        command.args(["-machine", &machine]);
        for share in &self.shares {
            command.args([
                "-virtfs",
                &format!(
                    "local,path={},mount_tag={},security_model=none,multidevs=remap{}",
                    share.directory.display(),
                    share.tag,
                    share.options
                ),
            ]);
        }
        command.args(&self.devices);
        if let Some(incoming) = &self.incoming {
            command.args(["-incoming", incoming]);
        }
        command
    }

    fn write_initrd(&self, path: &Path) -> Result<()> {
        let file = File::create(path).context("making the initial file system")?;
        self.contents
            .write(&self.kernel, std::io::BufWriter::new(file))
            .map(|_| ())
            .context("writing the initial file system")
    }

    /// Boots the guest; its log is kept in directory `artefacts`.
    ///
    /// On a busy host, emulated processors may come to a halt, or fail, before the kernel has started
    /// anything of ours. Such a guest is booted again; the log of the first boot tells the runner.
    pub fn boot(&self, artefacts: &Path) -> Result<Arc<Guest>> {
        let guest = self.start(artefacts)?;
        if guest.comes_up(self.stall)? {
            return self.prepare(guest);
        }
        guest.kill();
        let stalled = stall::log(artefacts, &self.name);
        eprintln!(
            "{}: it has not booted after {} s, and is booted again; see {}",
            self.name,
            guest.started.elapsed().as_secs(),
            stalled.display()
        );
        fs::rename(&guest.log, stalled)?;
        drop(guest);

        let guest = self.start(artefacts)?;
        let ready = lock(&guest.agent).wait_ready(Instant::now() + BOOT_LIMIT);
        ready.map_err(|error| guest.explain(error))?;
        self.prepare(guest)
    }

    /// Starts the guest.
    fn start(&self, artefacts: &Path) -> Result<Arc<Guest>> {
        let log = artefacts.join(format!("{}.serial.log", self.name));
        let _ = fs::remove_file(&log);
        let started = Instant::now();
        let Machine {
            qemu,
            qmp,
            agent,
            sockets,
        } = self.launch(&log, &artefacts.join(format!("{}.qemu.log", self.name)))?;
        let guest = Arc::new(Guest {
            name: self.name.clone(),
            kernel: self.kernel.clone(),
            board: self.board,
            artefacts: artefacts.to_owned(),
            log,
            seen: Mutex::new(0),
            tainted: Mutex::new(false),
            qemu: Mutex::new(qemu),
            qmp: Mutex::new(qmp),
            agent: Mutex::new(agent),
            started,
            boot_time: Mutex::new(Duration::ZERO),
            sockets: Mutex::new(sockets),
        });
        lock(&GUESTS).push(Arc::downgrade(&guest));
        Ok(guest)
    }

    /// Starts QEMU; the console of the guest goes to file `log`, what QEMU says to `messages`.
    fn launch(&self, log: &Path, messages: &Path) -> Result<Machine> {
        let sockets = Scratch::new()?;
        self.write_initrd(&sockets.path().join("initrd"))?;
        let mut qemu = Program::spawn_to(&mut self.command(sockets.path(), log), messages)?;
        let failed = |what: anyhow::Error| {
            let text = fs::read_to_string(messages).unwrap_or_default();
            what.context(format!("QEMU does not start: {}", text.trim()))
        };
        let mut connect = |name: &str| qemu.connect(&sockets.path().join(name));
        let qmp = connect("qmp").and_then(Qmp::new).map_err(failed)?;
        let agent = Agent::new(connect("agent").map_err(failed)?);
        Ok(Machine {
            qemu,
            qmp,
            agent,
            sockets,
        })
    }

    /// Sets up a guest that has booted.
    fn prepare(&self, guest: Arc<Guest>) -> Result<Arc<Guest>> {
        *lock(&guest.boot_time) = guest.started.elapsed();
        if let Some(module) = self.board.transport() {
            guest.sh(&format!("modprobe {module}"))?;
        }
        for Share { tag, .. } in &self.shares {
            guest.sh(&format!(
                "modprobe 9pnet_virtio && modprobe 9p && mkdir -p /mnt/{tag} &&
                 mount -t 9p -o trans=virtio,version=9p2000.L {tag} /mnt/{tag}"
            ))?;
        }
        Ok(guest)
    }

    /// Boots the guest for a person, whose terminal is its console; returns when it is off.
    pub fn interactive(&self) -> Result<()> {
        let sockets = Scratch::new()?;
        let mut builder = self.clone().append("rv.interactive");
        builder.append.push("loglevel=4".to_owned());
        builder.write_initrd(&sockets.path().join("initrd"))?;
        let mut command = builder.command(sockets.path(), Path::new("/dev/null"));
        // The last one of two options with the same meaning counts, but not for serial ports.
        let arguments: Vec<_> = command
            .get_args()
            .map(|argument| match argument.to_str() {
                Some("chardev:console") => "mon:stdio".into(),
                _ => argument.to_owned(),
            })
            .collect();
        command = Command::new(command.get_program());
        let status = command.args(arguments).status().context("starting QEMU")?;
        ensure!(status.success(), "QEMU ends with {status}");
        Ok(())
    }
}

/// A QEMU that runs, and the ways to talk to it, and to its guest.
struct Machine {
    qemu: Program,
    qmp: Qmp,
    agent: Agent,
    sockets: Scratch,
}

/// A guest that has booted. It is killed when its last owner drops it.
pub struct Guest {
    name: String,
    kernel: Kernel,
    board: Board,
    artefacts: PathBuf,
    log: PathBuf,
    /// How much of the log was looked at for complaints.
    seen: Mutex<usize>,
    /// Whether a complaint was taken: the kernel stays tainted.
    tainted: Mutex<bool>,
    qemu: Mutex<Program>,
    qmp: Mutex<Qmp>,
    agent: Mutex<Agent>,
    started: Instant,
    boot_time: Mutex<Duration>,
    sockets: Mutex<Scratch>,
}

impl Guest {
    /// Returns its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Waits until it has booted, and returns whether it has, in time.
    fn comes_up(&self, limit: Duration) -> Result<bool> {
        let deadline = self.started + limit;
        match lock(&self.agent).wait_ready(deadline) {
            Ok(()) => Ok(true),
            Err(_) if Instant::now() >= deadline || stall::is_of_emulation(&self.log()) => {
                Ok(false)
            }
            Err(error) => Err(self.explain(error)),
        }
    }

    /// Returns how long it took from the start of QEMU to the first command.
    pub fn boot_time(&self) -> Duration {
        *lock(&self.boot_time)
    }

    /// Runs a command of the shell, whatever its exit status is. It may take as long as the test.
    pub fn run(&self, command: &str) -> Result<Output> {
        // The time limit of the test ends what never ends.
        self.run_within(command, Duration::from_secs(24 * 3600))
    }

    /// Runs a command of the shell that may take `limit`.
    pub fn run_within(&self, command: &str, limit: Duration) -> Result<Output> {
        let output = lock(&self.agent).run(command, Instant::now() + limit);
        output.map_err(|error| self.explain(error))
    }

    /// Runs a command of the shell, which must succeed; returns what it prints.
    pub fn sh(&self, command: &str) -> Result<String> {
        let output = self.run(command)?;
        ensure!(
            output.status == 0,
            "the guest's command\n{command}\nends with status {}:\n{}",
            output.status,
            output.text
        );
        Ok(output.text)
    }

    /// Returns the kernel's log of this guest until now, as its console shows it.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Executes a command of QEMU's machine protocol.
    pub fn qmp(&self, command: &str, arguments: serde_json::Value) -> Result<serde_json::Value> {
        lock(&self.qmp).execute(command, arguments)
    }

    /// Adds to an error what the guest shows: the end of its log, and its state if it is alive.
    fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        let alive = lock(&self.qemu).is_running();
        if alive {
            hang::look(self);
        }
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        let end = lines[lines.len().saturating_sub(12)..].join("\n");
        error.context(format!(
            "{} ({}) {}; its log ends with\n{end}\n",
            self.name,
            self.kernel.release,
            if alive { "hangs" } else { "is off" },
        ))
    }
}

/// Looks into every guest of this process, and ends it.
pub fn look_and_kill_all() {
    let guests = lock(&GUESTS).clone();
    for guest in guests.iter().filter_map(Weak::upgrade) {
        hang::look(&guest);
        // The test's thread may hold the lock of the process, but not for long.
        guest.kill();
    }
}

/// Locks a mutex, also after a thread has panicked with it: a test that fails must still clean up.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Arch;

    fn kernel() -> Kernel {
        Kernel {
            flavour: "x".to_owned(),
            release: "1.2.3".to_owned(),
            tree: PathBuf::new(),
            image: PathBuf::from("/vmlinuz"),
            modules: PathBuf::new(),
            arch: Arch::Amd64,
            programs: PathBuf::from("/"),
        }
    }

    fn arguments(builder: &Builder) -> String {
        let command = builder.command(Path::new("/s"), Path::new("/l"));
        let words: Vec<_> = command
            .get_args()
            .map(|word| word.to_string_lossy())
            .collect();
        words.join(" ")
    }

    #[test]
    fn memory_is_shared_with_a_backend_only() {
        let builder = Builder::new(&kernel()).memory(256).cpus(3);

        assert!(arguments(&builder).contains("-smp 3 -m 256M"));
        assert!(!arguments(&builder).contains("memfd"));
        let builder = builder.qemu(&["-netdev", "vhost-user,id=n,chardev=c"]);
        assert!(arguments(&builder).contains("size=256M,share=on"));
        assert!(arguments(&builder).contains("q35,memory-backend=memory"));
    }
}
