use super::{Access, Action, DEFAULT_ACCESS, Principal, Resource, Role, Roles};

fn default_access() -> Access {
    Access::parse(DEFAULT_ACCESS).expect("the default policies")
}

/// The resource that an action is usually asked of.
fn usual(action: Action) -> Resource<'static> {
    match action {
        Action::Query => Resource::Table { name: "signals", identities: false },
        Action::TokensWrite => Resource::Role(Role::Analyst),
        _ => Resource::Center,
    }
}

fn allowed(access: &Access, role: Role, action: Action, resource: Resource<'_>) -> bool {
    access.decide(&Principal::new("anybody", role), action, &resource).allowed
}

#[test]
fn each_role_may_what_the_default_policies_say() {
    let table: [(Action, [bool; 4]); 22] = [
        // operator, analyst, officer, auditor
        (Action::MetricsRead, [true, false, false, true]),
        (Action::VehiclesRead, [true, false, true, false]),
        (Action::VehiclesWrite, [true, false, false, false]),
        (Action::IdentitiesRead, [false, false, true, false]),
        (Action::PlatformsRead, [true, false, false, false]),
        (Action::PlatformsWrite, [true, false, false, false]),
        (Action::RecordsWrite, [false, false, true, false]),
        (Action::SubjectsRead, [false, false, true, false]),
        (Action::SubjectsErase, [false, false, true, false]),
        (Action::Query, [false, true, true, false]),
        (Action::LocationExact, [false, false, true, false]),
        (Action::SensitiveRead, [false, false, true, false]),
        (Action::LakeRead, [true, false, true, true]),
        (Action::LakeWrite, [true, false, true, false]),
        (Action::TokensRead, [true, false, true, false]),
        (Action::TokensWrite, [true, false, false, false]),
        (Action::PolicyRead, [true, false, true, true]),
        (Action::PolicyWrite, [false, false, true, false]),
        (Action::CentersRead, [true, false, true, true]),
        (Action::CentersWrite, [true, false, false, false]),
        (Action::LedgerRead, [false, false, false, true]),
        (Action::LedgerVerify, [true, false, true, true]),
    ];
    let access = default_access();
    assert_eq!(table.map(|(action, _)| action), Action::ALL, "every action is in the table");
    for (action, expected) in table {
        for (role, expected) in Role::ALL.into_iter().zip(expected) {
            let name = format!("{} {}", role.as_str(), action.as_str());
            assert_eq!(allowed(&access, role, action, usual(action)), expected, "{name}");
        }
    }
}

#[test]
fn a_file_from_before_the_classes_permits_no_exact_place() {
    let new = "Action::\"query\", Action::\"location.exact\", Action::\"sensitive.read\",";
    let older = DEFAULT_ACCESS.replace(new, "Action::\"query\",");
    assert_ne!(older, DEFAULT_ACCESS);
    let access = Access::parse(&older).expect("an older file");
    for action in [Action::LocationExact, Action::SensitiveRead] {
        assert!(!access.decide(&Principal::SOCKET, action, &Resource::Center).allowed);
        assert!(default_access().decide(&Principal::SOCKET, action, &Resource::Center).allowed);
    }
}

#[test]
fn identities_are_for_officers_only() {
    let access = default_access();
    for (name, identities, expected) in [
        ("signals", false, [false, true, true, false]),
        ("frames", true, [false, false, true, false]),
        ("owners", true, [false, false, true, false]),
    ] {
        for (role, expected) in Role::ALL.into_iter().zip(expected) {
            let resource = Resource::Table { name, identities };
            assert_eq!(allowed(&access, role, Action::Query, resource), expected, "{} {name}", role.as_str());
        }
    }
}

#[test]
fn an_operator_makes_nobody_an_officer() {
    let access = default_access();
    for role in Role::ALL {
        let resource = Resource::Role(role);
        assert_eq!(allowed(&access, Role::Operator, Action::TokensWrite, resource), role != Role::Officer);
        assert_eq!(allowed(&access, Role::Officer, Action::TokensWrite, resource), role == Role::Officer);
        assert!(!allowed(&access, Role::Analyst, Action::TokensWrite, resource));
        assert!(access.decide(&Principal::SOCKET, Action::TokensWrite, &resource).allowed);
    }
}

#[test]
fn the_socket_is_operator_and_officer_at_once() {
    let access = default_access();
    for action in Action::ALL {
        let either = allowed(&access, Role::Operator, action, usual(action))
            || allowed(&access, Role::Officer, action, usual(action));
        assert_eq!(access.decide(&Principal::SOCKET, action, &usual(action)).allowed, either, "{action:?}");
    }
}

#[test]
fn a_decision_names_its_policies() {
    let access = default_access();
    let permitted = access.decide(&Principal::new("bi", Role::Analyst), Action::Query, &usual(Action::Query));
    let names: Vec<&str> = permitted.policies.iter().map(AsRef::as_ref).collect();
    assert_eq!(names, ["analyst-queries-pseudonyms"]);
    let denied = access.decide(&Principal::new("bi", Role::Analyst), Action::TokensRead, &Resource::Center);
    assert!(!denied.allowed && denied.policies.is_empty());
}

#[test]
fn without_a_policy_or_a_role_nothing_is_permitted() {
    let nothing = Access::parse("// nothing yet\n").expect("an empty file");
    let access = default_access();
    let nobody = Principal { name: "nobody", roles: Roles::NONE };
    for action in Action::ALL {
        assert!(!nothing.decide(&Principal::SOCKET, action, &usual(action)).allowed);
        assert!(!access.decide(&nobody, action, &usual(action)).allowed);
    }
}

#[test]
fn an_action_of_the_wrong_kind_of_resource_is_denied() {
    let all = Access::parse("permit (principal, action, resource);").expect("a policy");
    let officer = Principal::new("o", Role::Officer);
    assert!(all.decide(&officer, Action::Query, &usual(Action::Query)).allowed);
    for resource in [Resource::Center, Resource::Role(Role::Analyst)] {
        assert!(!all.decide(&officer, Action::Query, &resource).allowed);
    }
    assert!(!all.decide(&officer, Action::TokensWrite, &Resource::Center).allowed);
    assert!(!all.decide(&officer, Action::PolicyWrite, &usual(Action::Query)).allowed);
}

#[test]
fn a_policy_that_forbids_one_token_shuts_out_that_one() {
    let policies = format!(
        "{DEFAULT_ACCESS}\n@id(\"shut-out-grafana\")\nforbid (principal == Token::\"grafana\", action, resource);\n"
    );
    let access = Access::parse(&policies).expect("the policies");
    let decide =
        |name| access.decide(&Principal::new(name, Role::Analyst), Action::Query, &usual(Action::Query));
    let shut_out = decide("grafana");
    assert!(!shut_out.allowed);
    assert_eq!(&*shut_out.policies[0], "shut-out-grafana");
    for other in ["grafana2", "Grafana", "", "metabase"] {
        assert!(decide(other).allowed, "{other}");
    }
}

#[test]
fn a_policy_may_name_a_table_and_a_token_of_two_roles_is_decided_too() {
    let policies = "
        permit (principal in Role::\"analyst\", action == Action::\"query\", resource == Table::\"daily\");
        @id(\"no-auditor-in-daily\")
        forbid (principal in Role::\"auditor\", action, resource == Table::\"daily\");
    ";
    let access = Access::parse(policies).expect("the policies");
    let daily = Resource::Table { name: "daily", identities: false };
    assert!(allowed(&access, Role::Analyst, Action::Query, daily));
    assert!(!allowed(&access, Role::Analyst, Action::Query, usual(Action::Query)));
    let both = Principal { name: "x", roles: Roles::from(Role::Analyst).with(Role::Auditor) };
    let decision = access.decide(&both, Action::Query, &daily);
    assert!(!decision.allowed);
    assert_eq!(&*decision.policies[0], "no-auditor-in-daily");
}

#[test]
fn what_is_worked_out_ahead_is_what_cedar_says() {
    let policies = format!(
        "{DEFAULT_ACCESS}\nforbid (principal == Token::\"a\", action, resource) unless {{ principal in Role::\"officer\" }};
         permit (principal == Token::\"b\", action == Action::\"query\", resource == Table::\"frames\");"
    );
    let access = Access::parse(&policies).expect("the policies");
    assert!(access.answers.len() > 100, "answers are worked out ahead");
    let roles = Role::ALL.map(Roles::from).into_iter().chain([Principal::SOCKET.roles, Roles::NONE]);
    for roles in roles {
        for name in ["a", "b", "c", "socket"] {
            for action in Action::ALL {
                for table in ["frames", "signals"] {
                    let resource = match usual(action) {
                        Resource::Table { .. } => {
                            Resource::Table { name: table, identities: table == "frames" }
                        }
                        other => other,
                    };
                    let principal = Principal { name, roles };
                    let looked_up = access.decide(&principal, action, &resource);
                    assert_eq!(looked_up, access.answer(&principal, action, &resource));
                }
            }
        }
    }
}

#[test]
fn more_names_than_are_worked_out_ahead_are_decided_when_asked() {
    let mut policies = DEFAULT_ACCESS.to_owned();
    let tokens: Vec<String> = (0..400).map(|n| format!("Token::\"t{n}\"")).collect();
    policies.push_str(&format!(
        "forbid (principal, action, resource) when {{ [{}].contains(principal) }};",
        tokens.join(", ")
    ));
    let access = Access::parse(&policies).expect("the policies");
    assert_eq!(access.answers.len(), super::ANSWERS_MAX);
    for n in [0, 17, 399] {
        let name = format!("t{n}");
        let decision =
            access.decide(&Principal::new(&name, Role::Officer), Action::PolicyRead, &Resource::Center);
        assert!(!decision.allowed, "{name}");
    }
    assert!(allowed(&access, Role::Officer, Action::PolicyRead, Resource::Center));
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    let table: [(&str, usize, &[&str]); 12] = [
        // policies, line, what the error says
        (
            "permit (principal in Role::\"analyst\", action == Action::\"qery\", resource);",
            1,
            &["qery", "query"],
        ),
        ("\n\npermit (principal in Role::\"officers\", action, resource);", 3, &["officers"]),
        ("permit (principal == User::\"a\", action, resource);", 1, &["User"]),
        ("permit (principal, action, resource == Table::\"t\")\nwhen { resource.secret };", 2, &["secret"]),
        ("permit (principal, action, resource)\nwhen { context.ip == \"x\" };", 2, &["ip"]),
        ("permit (principal, action, resource == Center::\"there\");", 1, &["there"]),
        ("permit (principal, action, resource)", 1, &["unexpected end"]),
        ("// a comment\npermit (principal action, resource);", 2, &["unexpected token"]),
        ("permit (principal == ?principal, action, resource);", 1, &["template"]),
        (
            "@id(\"a\")\npermit (principal, action, resource);\n@id(\"a\")\nforbid (principal, action, resource);",
            3,
            &["@id(\"a\")"],
        ),
        // It can never apply: a query is asked of tables.
        ("permit (principal, action == Action::\"query\", resource == Center::\"here\");", 1, &[]),
        ("permit (principal, action, resource) when { false };", 1, &[]),
    ];
    for (policies, line, words) in table {
        let error = Access::parse(policies).expect_err(policies);
        assert_eq!(error.line, line, "{policies}: {error}");
        for word in words {
            assert!(error.to_string().contains(word), "{policies}: {error}");
        }
    }
    let error = Access::parse("@id(\"ours\")\npermit (principal, action == Action::\"look\", resource);")
        .expect_err("unknown");
    assert!(error.to_string().starts_with("access policy, line 2: in the policy `ours`: "), "{error}");
    assert!(Access::parse(&" ".repeat(super::TEXT_BYTES_MAX + 1)).is_err());
    let many = "permit (principal, action, resource);".repeat(super::POLICIES_MAX + 1);
    assert!(Access::parse(&many).is_err());
}

#[test]
fn every_prefix_of_the_default_policies_is_read_or_refused() {
    let step = 97;
    for end in (0..DEFAULT_ACCESS.len()).step_by(step).filter(|end| DEFAULT_ACCESS.is_char_boundary(*end)) {
        if let Err(error) = Access::parse(&DEFAULT_ACCESS[..end]) {
            assert!(error.line <= 1 + DEFAULT_ACCESS.lines().count(), "{error}");
        }
    }
}

#[test]
fn nesting_and_length_are_bounded_before_the_reader_recurses() {
    let chains = [
        ("(", ")"),
        ("!", ""),
        ("-", ""),
        ("[", "]"),
        ("{a: ", "}"),
        ("if true then ", " else true"),
        ("true && ", ""),
        ("true || ", ""),
        ("1 == 1 + ", ""),
        ("resource.", ""),
        ("principal has ", ""),
    ];
    for (open, close) in chains {
        for times in
            [super::NESTING_MAX - 2, super::POLICY_BYTES_MAX / (open.len() + close.len()) - 8, 20_000]
        {
            let (open, close) = (open.repeat(times), close.repeat(times));
            let text = format!("permit (principal, action, resource) when {{ {open}true{close} }};");
            // Some of these say something; what matters is that the program goes on.
            let _ = Access::parse(&text).map(|access| access.policy_count());
        }
    }
    let deep = format!("permit (principal, action, resource)\nwhen {{ {} }};", "(".repeat(40));
    let error = Access::parse(&deep).expect_err("too deep");
    assert!(error.line == 2 && error.problem.contains("brackets"), "{error}");
    let chain = format!("permit (principal, action, resource)\nwhen {{ {}true }};", "true || ".repeat(201));
    assert!(Access::parse(&chain).expect_err("a long chain").problem.contains("operators"));
    let names = "Token::\"a token's long name\", ".repeat(700);
    let long = format!("permit (principal, action, resource)\nwhen {{ [{names}].contains(principal) }};");
    assert!(Access::parse(&long).expect_err("too long").problem.contains("bytes"));
    // Neither comments nor texts count.
    let text = format!("// {}\n@id(\"a\\\"(((\")\npermit (principal, action, resource);", "(".repeat(50_000));
    assert_eq!(Access::parse(&text).map(|access| access.policy_count()), Ok(1));
}

#[test]
fn words_read_back() {
    for role in Role::ALL {
        assert_eq!(Role::from_name(role.as_str()), Some(role));
    }
    for action in Action::ALL {
        assert_eq!(Action::from_name(action.as_str()), Some(action));
    }
    assert_eq!(Role::from_name("root"), None);
    assert_eq!(Action::from_name("status.read"), None);
}
