//! The way back when no program starts any more.

/// Its file name beside the libraries.
pub(super) const FILE_NAME: &str = "rescue.sh";

/// Needs nothing but a shell that runs already: neither `[`, `printf` nor `read` is a program there.
pub(super) const SCRIPT: &str = r#"# Takes Everwrite's shim out of /etc/ld.so.preload, without starting any program.
#   in a root shell that is open:     . /usr/lib/everwrite/rescue.sh
#   by a statically linked shell:     busybox sh /usr/lib/everwrite/rescue.sh
everwrite_rescue() {
  everwrite_rest=
  while IFS= read -r everwrite_line || [ -n "$everwrite_line" ]; do
    case $everwrite_line in
      *libeverwrite_shim.so*) ;;
      *) everwrite_rest="$everwrite_rest$everwrite_line
" ;;
    esac
  done </etc/ld.so.preload
  printf %s "$everwrite_rest" >|/etc/ld.so.preload && echo "the shim is out of /etc/ld.so.preload"
}
everwrite_rescue
"#;
