// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::switch::Switch;
use std::time::Instant;

fn place(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("rv-{}-pcap-{name}.pcapng", std::process::id()))
}

/// A port with files, and another one of its switch.
fn bench(record: Option<&Path>, replay: Option<&Path>) -> Result<(Arc<dyn Controlled>, Handle)> {
    let switch = Arc::new(Switch::new("switch", Duration::from_secs(300)));
    let options = PortOptions::new("files");
    let files = start(&options, record, replay.map(Path::to_owned), || {
        switch.add(options.clone())
    })?;
    let port = switch.add(PortOptions::new("test"))?;
    port.outlet().set_open(true);
    Ok((files, port))
}

/// A frame for all, of which each number has another length.
fn frame(number: u8) -> Vec<u8> {
    let header = [&[0xff; 6][..], &[2, 0, 0, 0, 0, 1], &[0x88, 0xb5]].concat();
    let mut bytes = header;
    bytes.resize(60 + usize::from(number), number);
    bytes
}

fn counter(files: &Arc<dyn Controlled>, name: &str) -> u64 {
    let counters = files.execute("counters", &json!({})).expect("counters");
    counters[name].as_u64().expect("a counter")
}

fn wait_for(files: &Arc<dyn Controlled>, name: &str, wanted: u64) {
    let start = Instant::now();
    while counter(files, name) < wanted {
        assert!(start.elapsed() < MOST_WAIT, "{name} is not {wanted}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Returns the frames that a port has got.
fn got(port: &Handle) -> Vec<Vec<u8>> {
    let frames = port.outlet().take();
    frames.iter().map(|frame| frame.bytes.clone()).collect()
}

#[test]
fn what_was_recorded_is_played_again() {
    let path = place("again");
    let (recorder, port) = bench(Some(&path), None).expect("a recorder");
    let frames: Vec<_> = (0..100).map(frame).collect();
    for frame in &frames {
        port.send(Frame::plain(frame.clone()));
    }
    wait_for(&recorder, "recorded", 100);
    assert!(got(&port).is_empty(), "a recorder sends nothing");
    let told = crate::pcapng::tests::told(&fs::read(&path).expect("the file"));
    assert_eq!(told, vec![(2, None); 100], "they leave there");

    let (player, port) = bench(None, Some(&path)).expect("a player");
    for times in 1..=2 {
        let answer = player.execute("replay", &json!({ "fast": true }));
        assert_eq!(answer.expect("an answer"), json!({ "frames": 100 }));
        wait_for(&player, "replays", times);
        assert_eq!(got(&port), frames);
    }
    assert_eq!(counter(&player, "sent"), 200);
    fs::remove_file(path).expect("the file");
}

#[test]
fn pauses_are_played_again() {
    let path = place("pauses");
    let pause = Duration::from_millis(60);
    let file = File::create(&path).expect("a file");
    let mut file = Pcapng::new(file, "test").expect("a beginning");
    for number in 0..3 {
        let time = Duration::from_secs(1_000_000) + pause * u32::from(number);
        let result = file.write(time, &frame(number), Direction::Out, None);
        result.expect("a frame");
    }

    let (player, port) = bench(None, Some(&path)).expect("a player");
    let start = Instant::now();
    player.execute("replay", &json!({})).expect("an answer");
    wait_for(&player, "sent", 1);
    assert_eq!(got(&port), [frame(0)]);
    wait_for(&player, "replays", 1);

    assert!(start.elapsed() >= pause * 2, "{:?}", start.elapsed());
    assert_eq!(got(&port), [frame(1), frame(2)]);
    fs::remove_file(path).expect("the file");
}

#[test]
fn what_cannot_be_played_is_said() {
    let error = bench(None, Some(Path::new("/nowhere/file"))).err();
    assert_eq!(
        error.expect("no file").to_string(),
        "there is no /nowhere/file"
    );

    let path = place("text");
    fs::write(&path, "hello, world").expect("a file");
    let (player, _port) = bench(None, Some(&path)).expect("a player");
    let error = player.execute("replay", &json!({})).expect_err("no frames");
    let wanted = format!("{}: it is not of format pcapng", path.display());
    assert_eq!(format!("{error:#}"), wanted);
    fs::remove_file(path).expect("the file");
}
