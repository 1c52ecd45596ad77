//! Bundles the playground with npm and lists its files for the server to embed.
//!
//! Without npm the server embeds a page that says how to get the playground, so that Rust alone is
//! enough to build and test everything else.

use std::{
    env,
    error::Error,
    fmt::Write as _,
    fs::{self, File},
    hash::{DefaultHasher, Hasher},
    io::{self, ErrorKind, Write as _},
    path::{Path, PathBuf},
    process::Command,
};

use flate2::{Compression, write::GzEncoder};

const PLAYGROUND: &str = "playground";

/// What the bundle is made from; `node_modules` follows from the lockfile.
const SOURCES: [&str; 8] =
    [".npmrc", "build.mjs", "fallback.html", "favicon.svg", "index.html", "package-lock.json", "package.json", "src"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    for source in SOURCES {
        println!("cargo::rerun-if-changed={PLAYGROUND}/{source}");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("Cargo did not set OUT_DIR.")?);
    let bundle = out.join(PLAYGROUND);
    let assets = match build_bundle(&bundle).and_then(|()| table(&bundle)) {
        Ok(assets) => assets,
        Err(reason) => {
            println!(
                "cargo::warning=The playground is left out, everything else works: {reason}. \
                 With Node.js and npm in order, `touch build.rs` and build again."
            );
            build_fallback(&bundle)?;
            table(&bundle)?
        }
    };
    fs::write(out.join("playground.rs"), assets)?;
    Ok(())
}

fn build_bundle(bundle: &Path) -> Result<(), Box<dyn Error>> {
    clear(bundle)?;
    // Debug and release builds may run at the same time, and `npm ci` starts by deleting what the
    // other one is using. The file is locked because npm has no need to read it, and because a
    // read-only source tree has no room for a lock file of its own.
    let lock = File::open(Path::new(PLAYGROUND).join(".gitignore"))?;
    lock.lock()?;
    if !is_installed() {
        npm(&mut npm_command(&["ci", "--ignore-scripts"]))?;
        println!(
            "cargo::warning=Ran `npm ci --ignore-scripts` once, to install the playground's \
             packages in {PLAYGROUND}/node_modules."
        );
    }
    npm(npm_command(&["run", "build", "--"]).arg(bundle))
}

/// Whether npm has finished an installation since the lockfile last changed.
fn is_installed() -> bool {
    let modified = |path: &str| fs::metadata(Path::new(PLAYGROUND).join(path))?.modified();
    match (modified("node_modules/.package-lock.json"), modified("package-lock.json")) {
        (Ok(installed), Ok(locked)) => installed >= locked,
        _ => false,
    }
}

fn npm_command(arguments: &[&str]) -> Command {
    let mut command = Command::new(if cfg!(windows) { "npm.cmd" } else { "npm" });
    command.args(arguments).current_dir(PLAYGROUND);
    command
}

fn npm(command: &mut Command) -> Result<(), Box<dyn Error>> {
    let output = match command.output() {
        Ok(output) => output,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            rerun_when_npm_appears();
            return Err("npm was not found".into());
        }
        Err(error) => return Err(format!("npm did not start ({error})").into()),
    };
    if output.status.success() {
        return Ok(());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    eprintln!("{errors}");
    let reason =
        errors.lines().find(|line| line.to_lowercase().contains("error")).map_or("it gave no reason", str::trim);
    Err(format!("npm failed with \"{reason}\"").into())
}

/// Watches the folders in which an installation would put npm.
fn rerun_when_npm_appears() {
    println!("cargo::rerun-if-env-changed=PATH");
    let path = env::var_os("PATH").unwrap_or_default();
    // Cargo takes a missing folder for a change, and would build the server anew every time.
    for folder in env::split_paths(&path).filter(|folder| folder.is_dir()) {
        println!("cargo::rerun-if-changed={}", folder.display());
    }
}

fn build_fallback(bundle: &Path) -> io::Result<()> {
    clear(bundle)?;
    let playground = Path::new(PLAYGROUND);
    fs::copy(playground.join("fallback.html"), bundle.join("index.html"))?;
    fs::copy(playground.join("favicon.svg"), bundle.join("favicon.svg"))?;
    Ok(())
}

fn clear(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => fs::create_dir(folder),
    }
}

/// Writes the bundle's files as a Rust array of `Asset` values.
fn table(bundle: &Path) -> Result<String, Box<dyn Error>> {
    let mut files =
        fs::read_dir(bundle)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?;
    files.sort();
    let mut table = String::from("[\n");
    for file in files {
        let name = file.file_name().and_then(|name| name.to_str()).ok_or("a file has an odd name")?;
        let path = match name {
            "index.html" => "/".to_owned(),
            "favicon.svg" => "/favicon.svg".to_owned(),
            _ => format!("/{PLAYGROUND}/{name}"),
        };
        let content_type = match file.extension().and_then(|extension| extension.to_str()) {
            Some("css") => "text/css; charset=utf-8",
            Some("html") => "text/html; charset=utf-8",
            Some("js") => "text/javascript; charset=utf-8",
            Some("svg") => "image/svg+xml",
            _ => return Err(format!("{name} has no known content type").into()),
        };
        let mut hasher = DefaultHasher::new();
        let content = fs::read(&file)?;
        hasher.write(&content);
        // Scripts and styles are several times smaller so, and nearly all browsers take them as they are.
        let is_gzip = content_type.starts_with("text/css") || content_type.starts_with("text/javascript");
        if is_gzip {
            let mut gzip = GzEncoder::new(File::create(&file)?, Compression::best());
            gzip.write_all(&content)?;
            gzip.finish()?;
        }
        // Weak, because it is the same with each coding.
        let etag = format!("W/\"{:016x}\"", hasher.finish());
        writeln!(
            table,
            "    Asset {{ path: {path:?}, content_type: {content_type:?}, etag: {etag:?}, is_gzip: {is_gzip}, \
             content: include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{PLAYGROUND}/{name}\")) }},"
        )?;
    }
    table.push_str("]\n");
    Ok(table)
}
