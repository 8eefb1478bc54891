// SPDX-License-Identifier: GPL-2.0

//! What the instructions of a guest were counted to, by function.
//!
//! `tests/bench/count.c` writes the counts by address; the guest's `/proc/kallsyms` tells which
//! function is where.

use anyhow::{Context, Result, bail, ensure};
use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::Path,
};

/// The functions of a kernel, and those of modules that come and go, by their offsets.
pub struct Symbols {
    kernel: BTreeMap<u64, Function>,
    modules: HashMap<String, BTreeMap<u64, Function>>,
}

/// A function, by its name, and its module if it is in one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// The module.
    pub module: Option<String>,
}

/// A module that is loaded, and where its code is.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Its name.
    pub module: String,
    /// The address of its code.
    pub base: u64,
}

/// The function of a module that comes last is not longer than this.
const LAST: u64 = 4096;

impl Symbols {
    /// Reads what `/proc/kallsyms` says, while `modules` are loaded.
    pub fn parse(kallsyms: &str, modules: &[Loaded]) -> Result<Self> {
        let mut symbols = Self {
            kernel: BTreeMap::new(),
            modules: HashMap::new(),
        };
        for line in kallsyms.lines() {
            let words: Vec<_> = line.split_whitespace().collect();
            let (&[address, kind, name], module) = words
                .split_first_chunk()
                .with_context(|| format!("kallsyms says {line:?}"))?;
            if !matches!(kind, "t" | "T" | "w" | "W") {
                continue;
            }
            let address = u64::from_str_radix(address, 16)?;
            let module = module.first().map(|word| word.trim_matches(['[', ']']));
            let function = Function {
                name: name.to_owned(),
                module: module.map(str::to_owned),
            };
            let loaded = modules
                .iter()
                .find(|loaded| Some(loaded.module.as_str()) == module);
            match loaded {
                // Its other sections are gone when it runs.
                Some(loaded) if address < loaded.base => continue,
                Some(loaded) => symbols
                    .modules
                    .entry(loaded.module.clone())
                    .or_default()
                    .entry(address - loaded.base)
                    .or_insert(function),
                None => symbols.kernel.entry(address).or_insert(function),
            };
        }
        ensure!(symbols.kernel.len() > 1000, "the guest hides its symbols");
        Ok(symbols)
    }

    /// Returns the function at an address while a module is loaded.
    fn at(&self, address: u64, loaded: &Loaded) -> Option<&Function> {
        let in_module = || {
            let functions = self.modules.get(&loaded.module)?;
            let offset = address.checked_sub(loaded.base)?;
            let (last, _) = functions.last_key_value()?;
            (offset < last + LAST).then(|| functions.range(..=offset).next_back())?
        };
        in_module()
            .or_else(|| self.kernel.range(..=address).next_back())
            .map(|(_, function)| function)
    }
}

/// What was executed in a window, by address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Window(HashMap<u64, u64>);

impl Window {
    /// Returns how many instructions were executed in each function, while a module was loaded.
    pub fn functions(&self, symbols: &Symbols, loaded: &Loaded) -> BTreeMap<Function, u64> {
        let mut functions = BTreeMap::new();
        for (&address, &count) in &self.0 {
            let function = symbols.at(address, loaded).cloned().unwrap_or(Function {
                name: format!("{address:#x}"),
                module: None,
            });
            *functions.entry(function).or_insert(0) += count;
        }
        functions
    }
}

/// Reads the windows that are complete.
pub fn read(path: &Path) -> Result<Vec<Window>> {
    parse(&fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?)
}

fn parse(text: &str) -> Result<Vec<Window>> {
    let mut windows = Vec::new();
    let mut window = Window::default();
    for line in text.lines() {
        match line.split_once(' ') {
            Some((address, count)) => {
                window
                    .0
                    .insert(u64::from_str_radix(address, 16)?, count.parse()?);
            }
            None if line == "window" => window = Window::default(),
            None if line == "end" => windows.push(std::mem::take(&mut window)),
            None => bail!("the counts have a line {line:?}"),
        }
    }
    Ok(windows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_belong_to_the_function_before_them() {
        let mut kallsyms: String = (0..2000)
            .map(|i| format!("{i:016x} T before{i}\n"))
            .collect();
        kallsyms.push_str(
            "ffffffff81000000 T _text\n\
             ffffffff81000010 d data\n\
             ffffffff81000020 t one\n\
             ffffffff81000020 T alias\n\
             ffffffffc0000000 t two\t[module]\n",
        );
        let loaded = |base| Loaded {
            module: "module".to_owned(),
            base,
        };
        let symbols = Symbols::parse(&kallsyms, &[loaded(0xffff_ffff_c000_0000)]).expect("symbols");

        let windows = parse(
            "window\nffffffff81000020 3\nffffffff81000030 4\nffffffffc0008010 5\nend\n\
             window\nffffffff81000010 1\n",
        )
        .expect("windows");
        let [window] = windows.as_slice() else {
            panic!("one window is complete");
        };
        let functions: Vec<_> = window
            .functions(&symbols, &loaded(0xffff_ffff_c000_8000))
            .into_iter()
            .map(|(function, count)| (function.name, function.module, count))
            .collect();
        assert_eq!(
            functions,
            [
                ("one".to_owned(), None, 7),
                ("two".to_owned(), Some("module".to_owned()), 5),
            ]
        );
    }

    #[test]
    fn hidden_symbols_are_an_error() {
        assert!(Symbols::parse("0000000000000000 T _text\n", &[]).is_err());
    }
}
