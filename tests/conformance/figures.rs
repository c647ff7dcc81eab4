//! What a hooked call costs. A measurement, run by hand:
//!
//! ```text
//! EVERWRITE_MEASURE=1 cargo test -p everwrite-tests --test conformance figures -- --nocapture
//! ```

use std::process::Command;

use harness::artifacts::shim;
use harness::measuring;

use crate::scene::Scene;

/// Stands behind the shim in the real functions' place, so that only the hook is measured.
const STUB: &str = "
#include <unistd.h>
ssize_t write(int f, const void *b, size_t n) { return n; }
ssize_t pwrite64(int f, const void *b, size_t n, off64_t o) { return n; }
ssize_t pwrite(int f, const void *b, size_t n, off_t o) { return n; }";

/// Prints the 5th and 50th percentile of nanoseconds a call, of 300 batches, in CPU time of the thread.
const LOOP: &str = "
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
static double now(void) { struct timespec t; clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t); return t.tv_sec * 1e9 + t.tv_nsec; }
static int order(const void *a, const void *b) { double x = *(double *)a, y = *(double *)b; return x < y ? -1 : x > y; }
int main(int count, char **arguments) {
    static char block[4096];
    int f = open(arguments[2], O_RDWR | O_CREAT, 0600), calls = atoi(arguments[3]);
    double took[301];
    for (int k = 0; k < 301; k++) {
        double start = now();
        for (int i = 0; i < calls; i++) switch (arguments[1][0]) {
            case 's': pwrite(f, block, 4096, i * 4096L); break;
            case 'r': pwrite(f, block, 4096, i * 7919L % 400 * 4096); break;
            case 'w': write(f, block, 4096); break;
        }
        took[k] = (now() - start) / calls;
        if (arguments[1][0] == 'w') lseek(f, 0, SEEK_SET);
    }
    qsort(took, 301, sizeof *took, order);
    printf(\"p5 %.1f ns, p50 %.1f ns\\n\", took[15], took[150]);
    return 0;
}";

#[test]
fn cost_of_a_call() {
    if !measuring("cost_of_a_call") {
        return;
    }
    let scene = Scene::new();
    let stub = scene.compile_with("stub.so", STUB, &["-O2", "-shared", "-fPIC"]);
    let program = scene.compile_with("loop", LOOP, &["-O2"]);
    let (shim, stub) = (shim().display().to_string(), stub.display().to_string());
    let isolated = ["", &stub, "2000"];
    let real = ["", "", "400"];
    for (what, [_, behind, calls]) in [("real call stubbed", isolated), ("real call", real)] {
        for (kind, name) in [
            ("s", "pwrite, sequential"),
            ("r", "pwrite, random"),
            ("w", "write"),
        ] {
            for (file, to) in [("/dev/null", "another device"), ("new", "a watched file")] {
                let measure = |preload: &str| {
                    let mut command: Command = scene.command(&program);
                    command.args([kind, file, calls]).env("LD_PRELOAD", preload);
                    harness::run(&mut command).success().text()
                };
                let (bare, hooked) = (measure(behind), measure(&format!("{shim}:{behind}")));
                print!("{what}, {name}, {to}: bare {bare}    shim {hooked}");
            }
        }
    }
}
