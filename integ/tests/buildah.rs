//! buildah, as it is packaged, with runj for its runtime.
#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, clippy::unwrap_used)]

use integ::container::Done;
use integ::engine::{Engine, busybox};
use integ::prelude::*;
use integ::{locate, wait};

/// An image from nothing: from scratch, a program copied in, one run, a commit, and podman runs the result.
#[test]
fn from_scratch_to_an_image_that_runs() {
    case(needs!(Buildah, Runj), |case| {
        let engine = Engine::new(case);
        let buildah = |arguments: &[&str]| engine.buildah(arguments).ok();
        let name = buildah(&["from", "--name", "work", "scratch"]);
        assert_eq!(name.trim(), "work");
        let program = busybox().unwrap();
        buildah(&["copy", "work", program.to_str().unwrap(), "/bin/busybox"]);
        let run = |options: &[&str], command: &[&str]| {
            let runtime = locate::runtime().unwrap();
            let program = engine.buildah(["run", "--runtime"]).arg(runtime).args(options);
            Done::run(program.args(["work", "--"]).args(command))
        };
        run(&[], &["/bin/busybox", "--install", "-s", "/bin"]).ok();
        assert!(
            run(&[], &["/bin/cat", "/proc/1/cmdline"]).ok().starts_with("runj: jail "),
            "the first process is a keeper"
        );
        assert_eq!(run(&["--env", "A=b"], &["/bin/sh", "-c", "echo $A > /made; id -u"]).ok(), "0\n");
        assert_eq!(run(&[], &["/bin/sh", "-c", "exit 3"]).output.status.code(), Some(3));
        let missing = run(&[], &["/no/such/program"]);
        assert!(!missing.output.status.success() && missing.stderr().contains("no such file"), "{missing:?}");
        buildah(&["config", "--cmd", "cat /made", "--env", "C=d", "work"]);
        buildah(&["commit", "--rm", "work", "localhost/made:test"]);
        let options = ["run", "--rm", "--cgroup-parent", &engine.group(), "localhost/made:test"];
        assert_eq!(engine.ok(&options), "b\n");
    });
}

/// A Containerfile whose steps run in jails.
#[test]
fn a_file_is_built() {
    case(needs!(Buildah, Runj), |case| {
        let engine = Engine::new(case);
        let context = case.path("context");
        std::fs::create_dir(&context).unwrap();
        std::fs::write(context.join("in"), "from the context\n").unwrap();
        let text = "FROM localhost/busybox:test\nCOPY in /in\nRUN cat /in > /out && test -c /dev/null\nUSER alice\n\
                    RUN test $(id -u) = 1000\nCMD [\"cat\", \"/out\"]\n";
        std::fs::write(context.join("Containerfile"), text).unwrap();
        let build = |file: &str| {
            let runtime = locate::runtime().unwrap();
            let program = engine.buildah(["build", "--pull-never", "--runtime"]).arg(runtime);
            let program = program.args(["--tag", "localhost/built:test", "--file", file]).arg(&context);
            Done::run(program.cwd(&context).deadline(wait::seconds(100)))
        };
        build("Containerfile").ok();
        let options = ["run", "--rm", "--cgroup-parent", &engine.group(), "localhost/built:test"];
        assert_eq!(engine.ok(&options), "from the context\n");
        std::fs::write(context.join("Failing"), "FROM localhost/busybox:test\nRUN exit 9\n").unwrap();
        let failed = build("Failing");
        assert!(!failed.output.status.success() && failed.stderr().contains("exit status 9"), "{failed:?}");
    });
}
