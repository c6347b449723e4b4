//! Names of machines, as exports write them.

use policy::id::ServerName;

/// The server that a NetBIOS or DNS name names; `None` for addresses and for what names no particular machine.
pub(crate) fn server(name: &str) -> Option<ServerName> {
    let label = name.split('.').next()?;
    if label.eq_ignore_ascii_case("localhost") || label.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    label.parse().ok()
}

/// Whether `name` is a fully qualified name of this server.
pub(crate) fn is_fqdn_of(name: &str, server: &ServerName) -> bool {
    name.contains('.') && self::server(name).as_ref() == Some(server)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_known_by_its_first_label() {
        let ex1: ServerName = "EX1".parse().expect("a name");
        assert_eq!(server("ex1.contoso.test"), Some(ex1.clone()));
        assert!(is_fqdn_of("ex1.contoso.test", &ex1) && !is_fqdn_of("ex1", &ex1));
        for nobody in ["localhost", "10.0.0.1", "", "fe80::1", "*.contoso.test"] {
            assert_eq!(server(nobody), None, "{nobody}");
        }
    }
}
