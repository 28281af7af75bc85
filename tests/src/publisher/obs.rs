//! OBS Studio as a publisher: a profile written for one test, run without a screen.
//!
//! OBS needs a display and a folder of its own for its configuration; both are made here and go
//! with the publisher. It draws a plain colour: what is tested is its dialect of RTMP, its B-frames
//! and its clock, not its picture.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::process::{Process, Stdout};
use crate::{Context, Result};

/// OBS, streaming. Dropping it ends it.
#[derive(Debug)]
pub struct Obs {
    process: Process,
    _home: TempDir,
}

/// Whether OBS and the virtual display it needs are installed.
pub fn installed() -> bool {
    ["/usr/bin/obs", "/usr/bin/xvfb-run"].iter().all(|program| Path::new(program).exists())
}

impl Obs {
    /// Streams 640x360 at 30 fps with sound to `server` (`rtmp://H:P/live`) under a stream key.
    ///
    /// # Errors
    /// If it can't be started.
    pub fn stream_to(server: &str, key: &str) -> Result<Self> {
        let home = tempfile::tempdir().context("folder for OBS")?;
        write_profile(home.path(), server, key).context("profile of OBS")?;
        let runtime = home.path().join("run");
        let mut command = Command::new("xvfb-run");
        command
            .args(["-a", "-s", "-screen 0 800x600x24 +extension GLX", "obs", "--startstreaming"])
            .args(["--multi", "--disable-updater", "--profile", "Test", "--collection", "Test"])
            .env("HOME", home.path())
            .env("XDG_CONFIG_HOME", home.path())
            .env("XDG_RUNTIME_DIR", runtime)
            .env("QT_QPA_PLATFORM", "xcb")
            .env("LIBGL_ALWAYS_SOFTWARE", "1")
            // It looks for a newer list of services at every start: that goes nowhere.
            .env("https_proxy", "http://127.0.0.1:9");
        let log = home.path().join("obs.log");
        let process = Process::spawn("obs", &mut command, Stdout::Log, &log)?;
        Ok(Self { process, _home: home })
    }

    /// The last lines that it has said.
    pub fn log_tail(&self) -> String {
        self.process.log_tail(30)
    }
}

fn write_profile(home: &Path, server: &str, key: &str) -> std::io::Result<()> {
    let obs = home.join("obs-studio");
    let profile = obs.join("basic/profiles/Test");
    let scenes = obs.join("basic/scenes");
    for folder in [&profile, &scenes, &home.join("run")] {
        fs::create_dir_all(folder)?;
    }
    fs::write(
        obs.join("global.ini"),
        "[General]\nFirstRun=true\nEnableAutoUpdates=false\n\
         [Basic]\nProfile=Test\nProfileDir=Test\nSceneCollection=Test\nSceneCollectionFile=Test\n",
    )?;
    fs::write(
        profile.join("basic.ini"),
        "[General]\nName=Test\n\
         [Video]\nBaseCX=640\nBaseCY=360\nOutputCX=640\nOutputCY=360\nFPSCommon=30\n\
         [Output]\nMode=Simple\n\
         [SimpleOutput]\nVBitrate=800\nStreamEncoder=x264\nPreset=veryfast\nABitrate=128\n",
    )?;
    let service = serde_json::json!({
        "type": "rtmp_custom",
        "settings": { "server": server, "key": key, "use_auth": false },
    });
    fs::write(profile.join("service.json"), service.to_string())?;
    let scene = serde_json::json!({
        "name": "Test",
        "current_scene": "Scene",
        "current_program_scene": "Scene",
        "scene_order": [{ "name": "Scene" }],
        "sources": [
            { "id": "scene", "name": "Scene", "settings": { "items": [
                { "name": "Colour", "visible": true, "id": 1,
                  "pos": { "x": 0, "y": 0 }, "scale": { "x": 1, "y": 1 } },
            ] } },
            { "id": "color_source", "versioned_id": "color_source_v3", "name": "Colour",
              "settings": { "color": 4_281_545_523_u32, "width": 640, "height": 360 } },
        ],
    });
    fs::write(scenes.join("Test.json"), scene.to_string())
}
