//! Programs that people use, each changing the tree in its own way.

use crate::scene::{Scene, has};

/// Files to work on: small ones, one of some hundred pages, one with a hole.
const PREPARE: &str = "
    mkdir -p src/deep/er
    for i in 1 2 3 4 5 6 7 8; do echo \"line $i of a small file\" >src/small-$i; done
    seq 1 60000 >src/deep/numbers
    head -c 700000 /dev/urandom >src/deep/er/random
    truncate -s 3M src/sparse; echo end >>src/sparse
    ln -s deep/numbers src/link
";

#[track_caller]
fn run(program: &str, script: &str) {
    if !has(program, program) {
        return;
    }
    let scene = Scene::new();
    scene.prepare(PREPARE);
    let record = scene.check(|scene| scene.shell(script));
    assert!(!record.stdio_unseen, "{record:#?}");
    assert_eq!(record.everything, 0, "{record:#?}");
}

#[test]
fn cp() {
    run(
        "cp",
        "cp -a src copy; cp src/deep/numbers again; cp --reflink=auto src/sparse sparse2; cp again src/small-1",
    );
}

#[test]
fn coreutils() {
    run(
        "install",
        "install -m 600 src/small-1 installed; dd if=src/deep/numbers of=dd bs=4k status=none;
         dd if=src/small-1 of=dd bs=1 seek=5000 conv=notrunc status=none;
         tee t1 t2 <src/small-2 >t3; split -b 100k src/deep/numbers part-; sort -o sorted src/deep/numbers;
         mv t1 t4; rm t2; ln src/small-1 hard; ln -s x soft; mkdir -p a/b/c; rmdir a/b/c; touch new;
         chmod 640 new; truncate -s 10 dd; shuf src/deep/numbers >shuffled; cat src/* >>all 2>/dev/null || true;
         mkfifo pipe; shred -n 1 t3; echo one >>dd; mktemp ./tmpXXXXXX; mktemp -d ./dirXXXXXX",
    );
}

#[test]
fn bash() {
    run(
        "bash",
        "for i in {1..300}; do echo \"$i\" >>log; done; exec 5>five; echo a >&5; echo b >&5; exec 5>&-;
         (echo sub; printf '%s\\n' x y) >both; { echo 1; (echo 2); bash -c 'echo 3'; echo 4; } >mixed;
         cat >here <<X
some text
X
         exec 6<>src/small-1; read -r line <&6; echo over >&6; exec 6>&-",
    );
}

#[test]
fn concurrent_writers_share_an_offset() {
    run(
        "bash",
        "{ for i in {1..200}; do echo \"a$i\"; done & for i in {1..200}; do echo \"b$i\"; done;
           seq 1 2000 & seq 1 2000; wait; } >shared",
    );
}

#[test]
fn tar() {
    run(
        "tar",
        "tar cf t.tar src; mkdir out; tar xf t.tar -C out; tar czf t.tgz src; tar rf t.tar out/src/small-1",
    );
}

#[test]
fn compressors() {
    run(
        "gzip",
        "cp src/deep/numbers n; gzip -k n; gunzip -c n.gz >m; cp n o; gzip o; bzip2 -k n || true; xz -k n || true; zstd -q n || true",
    );
}

#[test]
fn git() {
    run(
        "git",
        "export HOME=$PWD GIT_CONFIG_NOSYSTEM=1; git init -q r; cd r; git config user.email a@b; git config user.name c;
         cp -r ../src .; git add -A; git commit -qm one; echo more >>src/small-1; git commit -qam two;
         git checkout -q -b side HEAD~1; echo side >src/small-2; git commit -qam side;
         git merge -q -m merged master 2>/dev/null || git merge -q -m merged main; git gc -q; git tag v1; git repack -adq; git status --short",
    );
}

#[test]
fn sqlite3() {
    run(
        "sqlite3",
        "sqlite3 a.db 'create table t(a,b); with recursive c(x) as (select 1 union all select x+1 from c where x<20000)
           insert into t select x, hex(randomblob(20)) from c; create index i on t(b); delete from t where a%3=0; vacuum;';
         sqlite3 w.db 'pragma journal_mode=wal; create table t(a); insert into t values(1); insert into t select a+1 from t; pragma wal_checkpoint(truncate);' >/dev/null",
    );
}

#[test]
fn python3() {
    run(
        "python3",
        "python3 - <<'X'
import os, shutil, json, pickle, zipfile, tempfile, mmap, subprocess
open('a', 'w').write('hello' * 5000)
with open('a', 'r+b') as f:
    f.seek(100); f.write(b'X' * 50); f.seek(7000); f.write(b'Y'); f.read(10); f.write(b'Z'); f.truncate(20000)
shutil.copytree('src', 'tree', symlinks=True)
json.dump({'k': list(range(5000))}, open('j', 'w'))
pickle.dump(list(range(5000)), open('p', 'wb'))
with zipfile.ZipFile('z.zip', 'w', zipfile.ZIP_DEFLATED) as z:
    for n in os.listdir('src'):
        if os.path.isfile('src/' + n): z.write('src/' + n)
t = tempfile.NamedTemporaryFile(dir='.', delete=False); t.write(b'tmp'); t.close()
os.rename(t.name, 'renamed')
fd = os.open('w', os.O_RDWR | os.O_CREAT)
os.write(fd, b'a' * 10); os.pwrite(fd, b'b' * 10, 100); os.lseek(fd, 50, 0); os.write(fd, b'c'); os.writev(fd, [b'd', b'ee'])
os.pwritev(fd, [b'f', b'gg'], 200); os.ftruncate(fd, 8192)
m = mmap.mmap(fd, 8192); m[4000:4010] = b'mmapmmap!!'; m.flush(); m.close(); os.close(fd)
subprocess.run(['sh', '-c', 'echo child'], stdout=open('sub', 'w'), check=True)
os.makedirs('m/n/o'); os.removedirs('m/n/o'); os.symlink('a', 's'); os.link('a', 'h'); os.chmod('a', 0o600); os.mkfifo('f')
os.setxattr('a', 'user.k', b'v'); os.utime('a', (1, 2))
d = os.open('src', os.O_RDONLY)
os.mkdir('sub', dir_fd=d); os.rename('small-1', 'sub/moved', src_dir_fd=d, dst_dir_fd=d); os.unlink('small-2', dir_fd=d)
X",
    );
}

#[test]
fn perl() {
    run(
        "perl",
        "perl -i -pe 's/line/LINE/' src/small-*; perl -e 'open(F,\">p\"); print F \"x\" x 100000; close F; open(F,\"+<p\"); seek(F,500,0); print F \"yyy\"; close F; rename \"p\",\"q\"; truncate \"q\", 5000; mkdir \"d\"; syswrite(STDOUT,\"\")'",
    );
}

#[test]
fn sed() {
    run(
        "sed",
        "sed -i 's/file/FILE/' src/small-1; sed -i.bak '1d' src/deep/numbers; sed -n 'w out' src/small-3",
    );
}

#[test]
fn awk() {
    run(
        "awk",
        "awk '{ print > (\"out-\" $1 % 7) }' src/deep/numbers; awk 'BEGIN { while (i++ < 9000) print i >> \"app\" }'",
    );
}

#[test]
fn vim() {
    run(
        "vim",
        "vim -es -u NONE -c 'set backup' -c '%s/small/SMALL/' -c wq src/small-1 </dev/null || true;
         vim -es -u NONE -c 'normal Onew line' -c 'w! other' -c 'qa!' src/small-2 </dev/null || true",
    );
}

#[test]
fn rsync() {
    run(
        "rsync",
        "rsync -a src/ one/; echo x >>src/deep/numbers; rsync -a --inplace --no-whole-file src/ one/; rsync -a --delete src/deep/ one/;
         rsync -aS src/sparse two",
    );
}

#[test]
fn gcc() {
    run(
        "gcc",
        "printf '#include <stdio.h>\\nint main(void){puts(\"x\");return 0;}\\n' >a.c; gcc -g -c a.c; gcc -o a a.o; ar rcs liba.a a.o; strip -o b a; objcopy a c; ./a >out",
    );
}

#[test]
fn make() {
    run(
        "make",
        "printf 'all: a b\\na:\\n\\techo a >a\\nb: a\\n\\tcat a a >b; mv b c; cp c b\\n' >Makefile; make -s -j2",
    );
}

#[test]
fn node() {
    run(
        "node",
        "node -e '
const fs = require(\"fs\");
fs.writeFileSync(\"a\", \"x\".repeat(100000)); fs.appendFileSync(\"a\", \"end\");
fs.copyFileSync(\"a\", \"b\"); fs.renameSync(\"b\", \"c\"); fs.mkdirSync(\"d/e\", {recursive: true});
const s = fs.createWriteStream(\"s\"); for (let i = 0; i < 2000; i++) s.write(\"line \" + i + \"\\n\"); s.end();
fs.promises.writeFile(\"p\", Buffer.alloc(300000, 7)).then(() => fs.promises.cp(\"src\", \"copy\", {recursive: true}));
const f = fs.openSync(\"a\", \"r+\"); fs.writeSync(f, \"QQ\", 50); fs.ftruncateSync(f, 5000); fs.closeSync(f);'",
    );
}

#[test]
fn java() {
    run(
        "java",
        "cat >A.java <<'X'
import java.nio.file.*; import java.io.*; import java.nio.*; import java.nio.channels.*;
public class A { public static void main(String[] x) throws Exception {
  Files.writeString(Path.of(\"a\"), \"hello\".repeat(20000)); Files.copy(Path.of(\"a\"), Path.of(\"b\")); Files.move(Path.of(\"b\"), Path.of(\"c\"));
  try (RandomAccessFile f = new RandomAccessFile(\"r\", \"rw\")) { f.setLength(100000); f.seek(500); f.write(1); f.seek(90000); f.writeUTF(\"x\");
    MappedByteBuffer m = f.getChannel().map(FileChannel.MapMode.READ_WRITE, 0, 4096); m.put(100, (byte) 9); m.force(); }
  Files.createDirectories(Path.of(\"d/e\")); } }
X
         java -XX:-UsePerfData A.java",
    );
}

#[test]
fn cargo_like_renames_of_trees() {
    run(
        "mv",
        "cp -a src tree; mv tree moved; mv moved/deep moved/shallow; mkdir swap; mv moved/shallow swap/; rm -r swap; mv src/small-1 src/small-2",
    );
}

#[test]
fn patch_and_ed_like_editors() {
    run(
        "patch",
        "cp src/small-1 x; printf -- '--- x\\n+++ x\\n@@ -1 +1 @@\\n-line 1 of a small file\\n+patched\\n' | patch -s -b x",
    );
}
