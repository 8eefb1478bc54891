// SPDX-License-Identifier: GPL-2.0

//! The manual page, and what a shell completes.

use super::{
    help::{PURPOSE, SYNOPSIS, Section, sections},
    subcommand::SUBCOMMANDS,
};
use std::collections::BTreeSet;

/// Words that are followed by the name of a file.
const FILES: &[&str] = &["run", "--config", "--control", "--record", "--replay"];

/// Makes text that `troff` takes as it is.
fn plain(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    // A line must not begin with a command.
    text.lines()
        .map(|line| {
            let guard = if line.starts_with(['.', '\'']) {
                "\\&"
            } else {
                ""
            };
            format!("{guard}{line}\n")
        })
        .collect()
}

/// Splits a line of a section into its term, which those that go on have not, and the rest.
fn split(line: &str, column: usize) -> (&str, &str) {
    match line.split_at_checked(column) {
        Some((term, rest)) if term.ends_with(' ') => (term.trim(), rest.trim()),
        // The explanation is in the next line.
        _ => (line.trim(), ""),
    }
}

/// Returns the manual page.
pub fn man() -> String {
    let mut page = format!(
        ".TH VIRTIO\\-BACKEND 1\n.SH NAME\nvirtio\\-backend \\- virtio devices over vhost\\-user\n\
         .SH SYNOPSIS\n.nf\n{}.fi\n.SH DESCRIPTION\n{}",
        plain(SYNOPSIS),
        plain(PURPOSE)
    );
    for section in sections() {
        page += &format!(".SH {}\n", section.title.to_uppercase().replace('"', ""));
        if !section.before.is_empty() {
            page += &format!(".nf\n{}.fi\n", plain(section.before));
        }
        for line in section.text.lines() {
            let (term, what) = split(line, section.column);
            if !term.is_empty() {
                page += &format!(".TP\n.B {}", plain(term));
            }
            page += &plain(what);
        }
    }
    page
}

/// Returns the terms of a section that begin with this, up to what they take.
fn terms(section: &Section, with: &str) -> Vec<String> {
    let lines = section.text.lines();
    let terms = lines.flat_map(|line| split(line, section.column).0.split(", "));
    terms
        .filter(|term| term.starts_with(with) && !term.is_empty())
        .map(|term| match (with, term.split_once('=')) {
            ("", Some((key, _))) => format!("{key}="),
            ("", None) => format!("{term},"),
            _ => term.split(' ').next().unwrap_or_default().to_owned(),
        })
        .collect()
}

/// Returns what bash reads to complete options, and keys of devices and ports.
pub fn completion() -> String {
    let sections = sections();
    let of = |titles: &[&str]| -> String {
        let wanted = sections.iter().filter(|it| titles.contains(&it.title));
        let keys: BTreeSet<_> = wanted.flat_map(|section| terms(section, "")).collect();
        keys.into_iter().collect::<Vec<_>>().join(" ")
    };
    let options: Vec<_> = sections
        .iter()
        .flat_map(|section| terms(section, "--"))
        .collect();
    let subcommands: Vec<_> = SUBCOMMANDS.iter().map(|about| about.name).collect();
    format!(
        "\
_virtio_backend()
{{
	local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}} keys=
	# Bash takes `=` for the end of a word.
	local line=${{COMP_LINE:0:COMP_POINT}}
	line=${{line##* }}
	[[ ${{COMP_LINE:0:COMP_POINT}} =~ (--[a-z]+)\\ [^\\ ]*$ ]] && before=${{BASH_REMATCH[1]}}
	case $before in
	{files})
		compopt -o default
		COMPREPLY=()
		return
		;;
	--blk) keys='{blk}' ;;
	--net) keys='{net}' ;;
	--port) keys='{port}' ;;
	esac
	if [[ -z $keys && $COMP_CWORD -gt 1 && $before != --* && $word != -* ]]; then
		case ${{COMP_WORDS[1]}} in
		blk) keys='{blk}' ;;
		net) keys='{net}' ;;
		esac
	fi
	if [[ -n $keys ]]; then
		compopt -o nospace
		# After a comma comes another key; after `=`, a file may.
		[[ ${{line##*,}} == *=* ]] && compopt -o default && return
		local done=${{word%\"${{word##*,}}\"}}
		mapfile -t COMPREPLY < <(compgen -P \"$done\" -W \"$keys\" -- \"${{word##*,}}\")
	else
		local words='{options}'
		((COMP_CWORD == 1)) && words+=' {subcommands}'
		mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\")
	fi
}}
complete -F _virtio_backend virtio-backend
",
        files = FILES.join(" | "),
        blk = of(&["Keys of all devices", "Keys of a disk"]),
        net = of(&[
            "Keys of all devices",
            "Keys of a network device, beside those of its port",
            "Keys of a port, and of a network device",
        ]),
        port = of(&[
            "Keys of a port, and of a network device",
            "Keys of a port, one of which says what is there",
        ]),
        options = options.join(" "),
        subcommands = subcommands.join(" "),
    )
}
