module troth.dev/sandbox/auditjudge

go 1.26
