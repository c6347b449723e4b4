//! Who may have access to the folder of a service. Pure: security descriptors in and out, as the text in which Windows gives them
//! (SDDL; Microsoft, "Security Descriptor String Format").
//!
//! The folder holds keys, and what the service obeys: who may write there rules the service. So nothing comes from the folder
//! above, and only SYSTEM, the Administrators, and an account of the service's own are let in. Whatever does not read counts as
//! everybody.

/// Those who are always let in.
const ALWAYS: [(&str, &str); 2] = [("SY", "S-1-5-18"), ("BA", "S-1-5-32-544")];

/// The account of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its security identifier.
    pub sid: String,
    /// It is one of the Administrators, with their rights in force.
    pub is_administrator: bool,
}

impl Account {
    /// The account, when no entry for the system or the administrators lets it in: it would lock itself out.
    fn of_its_own(&self) -> Option<&str> {
        let known = self.is_administrator || ALWAYS.iter().any(|(_, sid)| *sid == self.sid);
        (!known).then_some(&self.sid)
    }
}

/// The descriptor that the folder is to have, for a service that runs under `account`: full access for those who are let in, on
/// it and on all below it; protected from the folder above. An administrator's folder belongs to all of them.
pub fn wanted(account: &Account) -> String {
    let own = account.of_its_own();
    let owner = if own.is_none() { "O:BA" } else { "" };
    let own = own.map(|sid| format!("(A;OICI;FA;;;{sid})")).unwrap_or_default();
    format!("{owner}D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA){own}")
}

/// What is wrong with a descriptor.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wider {
    /// Who is let in beside those who should be, or owns the folder and so may change who is.
    pub others: Vec<String>,
    /// The folder above decides too.
    pub inherits: bool,
}

impl Wider {
    /// All is well.
    pub fn is_nothing(&self) -> bool {
        self.others.is_empty() && !self.inherits
    }
}

/// How a descriptor lets in more than [`wanted`] does.
pub fn wider(sddl: &str, account: &Account) -> Wider {
    let fine = |sid: &str| sid == account.sid || ALWAYS.iter().any(|(word, full)| sid == *word || sid == *full);
    let mut others: Vec<String> = Vec::new();
    let mut add = |name: String| {
        if !others.contains(&name) {
            others.push(name);
        }
    };
    if let Some(owner) = section(sddl, 'O').filter(|owner| !fine(owner)) {
        add(format!("{} (as owner)", named(owner)));
    }
    let list = section(sddl, 'D').filter(|list| !list.contains("NO_ACCESS_CONTROL"));
    let Some(list) = list else { return Wider { others: vec![named("WD")], inherits: true } };
    let (flags, entries) = list.split_at(list.find('(').unwrap_or(list.len()));
    for entry in entries.split('(').skip(1) {
        let fields: Vec<&str> = entry.trim_end_matches(')').split(';').collect();
        match fields.as_slice() {
            // Who is denied is not let in.
            ["D" | "OD" | "XD", ..] => {}
            [_, _, _, _, _, sid] if fine(sid) => {}
            [_, _, _, _, _, sid, ..] => add(named(sid)),
            _ => add(named("WD")),
        }
    }
    Wider { others, inherits: !flags.contains('P') }
}

/// A part of a descriptor: `O:`, `G:`, `D:` or `S:`, up to the next one.
fn section(sddl: &str, letter: char) -> Option<&str> {
    let mut depth = 0;
    let mut starts = Vec::new();
    let bytes = sddl.as_bytes();
    for (index, byte) in bytes.iter().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => depth -= 1,
            b':' if depth == 0 && index > 0 => starts.push(index - 1),
            _ => {}
        }
    }
    let at = starts.iter().position(|start| bytes[*start] == letter as u8)?;
    sddl.get(starts[at] + 2..starts.get(at + 1).copied().unwrap_or(sddl.len()))
}

/// A trustee as people know it. Names of accounts differ by language, so the identifier stays.
fn named(sid: &str) -> String {
    let name = match sid {
        "WD" | "S-1-1-0" => "Everyone",
        "BU" | "S-1-5-32-545" => "Users",
        "AU" | "S-1-5-11" => "Authenticated Users",
        "IU" | "S-1-5-4" => "Interactive",
        "CO" | "S-1-3-0" => "Creator Owner",
        "NS" | "S-1-5-20" => "Network Service",
        "LS" | "S-1-5-19" => "Local Service",
        "DU" => "Domain Users",
        _ => return sid.to_owned(),
    };
    format!("{name} ({sid})")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system() -> Account {
        Account { sid: "S-1-5-18".to_owned(), is_administrator: true }
    }

    fn service() -> Account {
        Account { sid: "S-1-5-80-1-2-3-4-5".to_owned(), is_administrator: false }
    }

    #[test]
    fn system_and_administrators_are_let_in_and_nobody_else() {
        assert_eq!(wanted(&system()), "O:BAD:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)");
        let anna = Account { sid: "S-1-5-21-1-2-3-1104".to_owned(), is_administrator: true };
        assert_eq!(wanted(&anna), wanted(&system()), "an administrator needs no entry of her own");
    }

    #[test]
    fn a_service_under_an_account_of_its_own_does_not_lock_itself_out() {
        assert_eq!(wanted(&service()), "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;FA;;;S-1-5-80-1-2-3-4-5)");
    }

    #[test]
    fn what_is_wanted_is_not_wider() {
        for account in [system(), service()] {
            assert!(wider(&wanted(&account), &account).is_nothing());
        }
        // As Windows gives it back.
        assert!(wider("O:BAG:SYD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)", &system()).is_nothing());
        assert!(wider("O:S-1-5-18D:PAI(A;OICI;FA;;;S-1-5-32-544)", &system()).is_nothing());
    }

    #[test]
    fn a_folder_as_windows_makes_it_under_program_data_is_wider_and_says_for_whom() {
        let usual = "O:S-1-5-21-1-2-3-1104G:DUD:AI(A;OICIID;FA;;;SY)(A;OICIID;FA;;;BA)\
                     (A;OICIIOID;GA;;;CO)(A;OICIID;0x1200a9;;;BU)(A;CIID;DCLCRPCR;;;BU)";
        let found = wider(usual, &system());
        assert_eq!(found.others, ["S-1-5-21-1-2-3-1104 (as owner)", "Creator Owner (CO)", "Users (BU)"]);
        assert!(found.inherits);
    }

    #[test]
    fn a_list_that_is_not_there_or_does_not_read_is_everybody() {
        for sddl in ["", "O:BAG:SY", "O:BAD:NO_ACCESS_CONTROL", "rubbish"] {
            assert_eq!(wider(sddl, &system()).others, ["Everyone (WD)"], "{sddl}");
        }
        assert_eq!(wider("O:BAD:P(A;FA)", &system()).others, ["Everyone (WD)"]);
    }

    #[test]
    fn an_entry_that_denies_lets_nobody_in_and_one_with_a_condition_does() {
        assert!(wider("O:BAD:P(D;;FA;;;WD)(A;OICI;FA;;;SY)", &system()).is_nothing());
        let found = wider("O:BAD:P(XA;;FA;;;AU;(@User.Title==\"VP\"))(A;;FA;;;SY)S:(AU;SA;FA;;;WD)", &system());
        assert!(found.others.contains(&"Authenticated Users (AU)".to_owned()), "{found:?}");
    }

    #[test]
    fn whatever_text_is_a_value() {
        for sddl in ["D:", "D:P", ":", "D:P(", "D:P)", "D:P()", "O:D:P", "D:(A;;;;;SY", "ÄD:P(A;;FA;;;ä)", "S:D:O:"] {
            let _ = wider(sddl, &system());
        }
    }
}
