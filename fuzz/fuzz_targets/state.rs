//! The files of a container's state: the first byte says which of the record, the plan and the journal the rest is.
#![no_main]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use runj::state::store::Store;

/// A state directory of this process's own, with one container in it.
fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        use std::os::unix::fs::DirBuilderExt;
        let root = std::env::temp_dir().join(format!("runj-fuzz-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        fs::DirBuilder::new().mode(0o700).recursive(true).create(root.join("c1")).unwrap();
        root
    })
}

fuzz_target!(|bytes: &[u8]| {
    let Some((which, content)) = bytes.split_first() else { return };
    let (store, id) = (Store::new(root()), "c1".parse().unwrap());
    let name = ["state.json", "plan.json", "journal"][usize::from(*which) % 3];
    let file = store.directory(&id).join(name);
    fs::write(&file, content).unwrap();
    let record = store.read(&id);
    let plan = store.read_plan(&id);
    let locked = store.lock(&id).unwrap();
    let resources = locked.resources();
    // What is understood is written as it was read.
    if let (0, Ok(record)) = (*which % 3, record) {
        locked.save(&record).unwrap();
        assert_eq!(store.read(&id).unwrap(), record);
    }
    if let (1, Ok(plan)) = (*which % 3, plan) {
        locked.save_plan(&plan).unwrap();
        assert_eq!(store.read_plan(&id).unwrap(), plan);
        drop(runj::plan::text::render(&plan));
    }
    if let (2, Ok(resources)) = (*which % 3, resources) {
        fs::remove_file(&file).unwrap();
        for resource in &resources {
            locked.intend(resource).unwrap();
        }
        assert_eq!(locked.resources().unwrap(), resources);
    }
    for name in ["state.json", "plan.json", "journal"] {
        let _ = fs::remove_file(store.directory(&id).join(name));
    }
});
