//! What containerd hands to the shim: the first byte says which message the rest is.
#![no_main]

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use libfuzzer_sys::fuzz_target;
use protobuf::Message;
use protobuf::well_known_types::any::Any;
use shim::args::{Args, identifier};
use shim::options::TaskOptions;
use shim::proto::{api, shim as messages};
use shim::stdio::Stream;
use shim::{bootstrap, spec};

fn words(bytes: &[u8]) -> Vec<OsString> {
    bytes.split(|byte| *byte == 0).map(|word| OsString::from_vec(word.to_vec())).collect()
}

/// Both become parts of paths.
fn check_names(args: &Args) {
    for (name, value) in [("namespace", &args.namespace), ("id", &args.id)] {
        assert!(identifier(name, value).is_ok() && !value.contains('/') && value != "..", "{args:?}");
    }
}

fn check_options(any: &Any) {
    // A file is read for this one; what is in the message is what is of interest.
    let path = api::Options::parse_from_bytes(&any.value).is_ok_and(|options| !options.config_path.is_empty());
    if path && any.type_url.ends_with("runtimeoptions.v1.Options") {
        return;
    }
    let _ = TaskOptions::parse(Some(any));
}

fuzz_target!(|bytes: &[u8]| {
    let Some((which, content)) = bytes.split_first() else { return };
    match which % 6 {
        0 => {
            use shim::args::Action::{Info, Start, Version};
            if let Ok(args) = Args::parse(words(content)) {
                if !matches!(args.action, Start | Info | Version) {
                    check_names(&args);
                }
            }
        }
        1 => {
            for line in ["-namespace n -id c start", "start"] {
                let args = Args::parse(line.split(' ').map(OsString::from)).unwrap();
                if let Ok(wish) = bootstrap::understand(args, content, None, false) {
                    check_names(&wish.args);
                }
            }
        }
        2 => {
            if let Ok(any) = Any::parse_from_bytes(content) {
                check_options(&any);
            }
            for type_url in ["runtimeoptions.v1.Options", "containerd.runc.v1.Options"] {
                check_options(&Any { type_url: type_url.to_owned(), value: content.to_vec(), ..Any::default() });
            }
        }
        3 => {
            // What is made explicit is accepted as it stands the next time.
            if let Ok(Some(changed)) = spec::explicit(content) {
                assert_eq!(spec::explicit(&changed).unwrap(), None);
            }
        }
        4 => {
            let text = String::from_utf8_lossy(content);
            drop(Stream::parse(&text));
        }
        _ => {
            drop(messages::CreateTaskRequest::parse_from_bytes(content));
            drop(messages::ExecProcessRequest::parse_from_bytes(content));
            drop(messages::UpdateTaskRequest::parse_from_bytes(content));
            drop(messages::KillRequest::parse_from_bytes(content));
            drop(serde_json::from_slice::<shim::record::Record>(content));
        }
    }
});
