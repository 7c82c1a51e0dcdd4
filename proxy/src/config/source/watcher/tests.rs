use std::{
    fs::{File, rename},
    io::Write as _,
    os::unix::fs::symlink,
};

use super::*;
use crate::config::tests::support::Dir;
use crate::digest::sha256;

/// An event arrives long before this; it only bounds a failing test.
const DEADLINE: Duration = Duration::from_secs(8);

fn read(path: &Path) -> ReadFile {
    let digest = fs::read(path).ok().map(|content| sha256(&content));
    ReadFile { path: path.to_owned(), digest, usage: FileUsage::Other }
}

fn watch(paths: &[PathBuf]) -> Watcher {
    Watcher::new(paths.iter().map(|path| read(path)).collect())
}

/// Runs `change` once the watcher waits. Returns whether an event told the watcher, before the next
/// poll would have.
fn notices(watcher: &mut Watcher, change: impl FnOnce()) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let mut changed = Box::pin(watcher.changed());
        // Polled once: the directories are watched, and nothing differs yet.
        assert!(timeout(Duration::ZERO, &mut changed).await.is_err());
        change();
        timeout(DEADLINE, changed).await.is_ok()
    })
}

#[test]
fn a_file_written_in_place_is_noticed() {
    let dir = Dir::new();
    let path = dir.file("ca.pem");
    let mut watcher = watch(std::slice::from_ref(&path));
    assert!(notices(&mut watcher, || {
        File::options().append(true).open(&path).unwrap().write_all(b"more").unwrap();
    }));
}

#[test]
fn a_file_renamed_over_another_is_noticed() {
    let dir = Dir::new();
    let path = dir.file("ca.pem");
    let mut watcher = watch(std::slice::from_ref(&path));
    assert!(notices(&mut watcher, || {
        dir.write("new", "other");
        rename(dir.file("new"), &path).unwrap();
    }));
}

#[test]
fn a_removed_file_and_a_new_file_are_noticed() {
    let dir = Dir::new();
    let path = dir.file("ca.pem");
    let mut watcher = watch(std::slice::from_ref(&path));
    assert!(notices(&mut watcher, || fs::remove_file(&path).unwrap()));
    assert!(notices(&mut watcher, || dir.write("ca.pem", "back")));
}

#[test]
fn a_file_in_a_directory_made_later_is_noticed() {
    let dir = Dir::new();
    let path = dir.file("later/deeper/ca.pem");
    let mut watcher = watch(std::slice::from_ref(&path));
    assert!(notices(&mut watcher, || {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "there").unwrap();
    }));
}

#[test]
fn a_link_swapped_the_kubernetes_way_is_noticed() {
    let dir = Dir::new();
    for (version, content) in [("..v1", "one"), ("..v2", "two")] {
        fs::create_dir(dir.file(version)).unwrap();
        fs::write(dir.file(version).join("tls.crt"), content).unwrap();
    }
    symlink("..v1", dir.file("..data")).unwrap();
    symlink("..data/tls.crt", dir.file("tls.crt")).unwrap();
    let mut watcher = watch(&[dir.file("tls.crt")]);
    assert!(notices(&mut watcher, || {
        symlink("..v2", dir.file("..data_tmp")).unwrap();
        rename(dir.file("..data_tmp"), dir.file("..data")).unwrap();
    }));
}

#[test]
fn a_swapped_link_on_the_way_is_noticed() {
    let dir = Dir::new();
    for (version, content) in [("v1", "one"), ("v2", "two")] {
        fs::create_dir_all(dir.file(version)).unwrap();
        fs::write(dir.file(version).join("cert.pem"), content).unwrap();
    }
    symlink(dir.file("v1"), dir.file("current")).unwrap();
    let mut watcher = watch(&[dir.file("current/cert.pem")]);
    assert!(notices(&mut watcher, || {
        symlink(dir.file("v2"), dir.file("next")).unwrap();
        rename(dir.file("next"), dir.file("current")).unwrap();
    }));
    assert!(notices(&mut watcher, || {
        fs::write(dir.file("v2/cert.pem"), "three").unwrap();
    }));
}

#[test]
fn the_target_of_a_link_elsewhere_is_watched() {
    let (dir, elsewhere) = (Dir::new(), Dir::new());
    symlink(elsewhere.file("ca.pem"), dir.file("link.pem")).unwrap();
    let mut watcher = watch(&[dir.file("link.pem")]);
    assert!(notices(&mut watcher, || elsewhere.write("ca.pem", "renewed")));
}

#[test]
fn a_replaced_directory_is_noticed_and_watched() {
    let dir = Dir::new();
    for (name, content) in [("live", "one"), ("next", "two")] {
        fs::create_dir(dir.file(name)).unwrap();
        fs::write(dir.file(name).join("cert.pem"), content).unwrap();
    }
    let mut watcher = watch(&[dir.file("live/cert.pem")]);
    assert!(notices(&mut watcher, || {
        rename(dir.file("live"), dir.file("old")).unwrap();
        rename(dir.file("next"), dir.file("live")).unwrap();
    }));
    assert!(notices(&mut watcher, || dir.write("live/cert.pem", "three")));
}

#[test]
fn a_directory_removed_and_made_again_is_noticed_and_watched() {
    let dir = Dir::new();
    let live = dir.file("live");
    let make = |content: &str| {
        fs::create_dir(&live).unwrap();
        fs::write(live.join("cert.pem"), content).unwrap();
    };
    make("one");
    let mut watcher = watch(&[live.join("cert.pem")]);
    // The new directory often has the inode of the former one.
    for content in ["two", "three", "four"] {
        assert!(notices(&mut watcher, || {
            fs::remove_dir_all(&live).unwrap();
            make(content);
        }));
        assert!(notices(&mut watcher, || fs::remove_dir_all(&live).unwrap()));
        assert!(notices(&mut watcher, || make(content)));
        let path = live.join("cert.pem");
        assert!(notices(&mut watcher, || fs::remove_file(&path).unwrap()));
        assert!(notices(&mut watcher, || fs::write(&path, content).unwrap()));
    }
}

#[test]
fn reading_a_file_is_no_change() {
    let dir = Dir::new();
    let mut watcher = watch(&[dir.file("ca.pem")]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        fs::read(dir.file("ca.pem")).unwrap();
        // An event that does count, and comes after those of the reading.
        let event = Arc::clone(&watcher.event);
        fs::write(dir.file("unrelated"), "").unwrap();
        event.notified().await;
        watcher.quiet().await;
        assert!(watcher.take_changes().is_empty());
        assert!(timeout(QUIET, event.notified()).await.is_err());
    });
}

#[test]
fn a_change_between_reading_and_watching_is_noticed() {
    let dir = Dir::new();
    let files = vec![read(&dir.file("ca.pem"))];
    dir.write("ca.pem", "changed since");
    let mut watcher = Watcher::new(files);
    assert!(!watcher.take_changes().is_empty());
    assert!(watcher.take_changes().is_empty());
}

#[test]
fn the_same_content_written_again_is_no_change() {
    let dir = Dir::new();
    let mut watcher = watch(&[dir.file("ca.pem")]);
    dir.write("ca.pem", fs::read(dir.file("ca.pem")).unwrap());
    assert!(watcher.take_changes().is_empty());
}

#[test]
fn another_file_in_the_directory_is_no_change() {
    let dir = Dir::new();
    let mut watcher = watch(&[dir.file("ca.pem")]);
    dir.write("access.log", "line");
    assert!(watcher.take_changes().is_empty());
}

#[test]
fn a_write_with_equal_length_and_times_is_noticed() {
    let dir = Dir::new();
    let path = dir.file("young");
    dir.write("young", "aaaa");
    let mut watcher = watch(std::slice::from_ref(&path));
    assert!(watcher.take_changes().is_empty());
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    dir.write("young", "bbbb");
    File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
    assert!(!watcher.take_changes().is_empty());
}

#[test]
fn only_the_files_of_the_last_load_are_watched() {
    let dir = Dir::new();
    let mut watcher = watch(&[dir.file("ca.pem")]);
    watcher.set_files(vec![read(&dir.file("server.pem"))]);
    dir.write("ca.pem", "changed");
    assert!(watcher.take_changes().is_empty());
    dir.write("server.pem", "changed");
    assert!(!watcher.take_changes().is_empty());
}

#[test]
fn links_in_a_circle_are_not_followed_forever() {
    let dir = Dir::new();
    symlink(dir.file("b"), dir.file("a")).unwrap();
    symlink(dir.file("a"), dir.file("b")).unwrap();
    let mut watcher = watch(&[dir.file("a")]);
    assert!(watcher.take_changes().is_empty());
}

#[test]
fn a_relative_path_is_watched_in_the_working_directory() {
    assert_eq!(directories_of(Path::new("config.yaml")), [PathBuf::from(".")].into());
}

#[test]
fn a_file_replaced_by_a_fifo_is_a_change_and_blocks_nothing() {
    let dir = Dir::new();
    let path = dir.file("ca.pem");
    let mut watcher = watch(std::slice::from_ref(&path));
    assert!(notices(&mut watcher, || dir.replace_by_fifo("ca.pem")));
    assert!(watcher.take_changes().is_empty());
}
