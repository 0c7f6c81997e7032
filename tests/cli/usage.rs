//! Help, versions and misuse.

use std::path::Path;

use crate::sekisho;

#[test]
fn help_goes_to_stdout() {
    for args in [&["--help"][..], &["check", "--help"]] {
        let ran = sekisho(Path::new("/"), args);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{args:?}");
        assert!(ran.out.contains("Usage: sekisho"), "{}", ran.out);
    }
    let ran = sekisho(Path::new("/"), &["--version"]);
    assert_eq!((ran.code, ran.out.trim()), (0, concat!("sekisho ", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn misuse_is_one_sentence_and_code_2() {
    for args in [&["chek"][..], &["check"], &["check", "a", "b"], &["check", "--colour", "a"]] {
        let ran = sekisho(Path::new("/"), args);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{args:?}");
        assert!(ran.err.starts_with("sekisho: ") && ran.err.lines().count() == 1, "{}", ran.err);
    }
}

#[test]
fn no_arguments_at_all_shows_the_help() {
    let ran = sekisho(Path::new("/"), &[]);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    assert!(ran.err.contains("check"), "{}", ran.err);
}
