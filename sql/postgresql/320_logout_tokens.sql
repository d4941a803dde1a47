-- Logout tokens of the issuer that were obeyed: each is, once, by whichever process gets it first.
create table if not exists logout_tokens (
    jti   bytea  not null primary key check (length(jti) = 32),
    until bigint not null
);

comment on table logout_tokens is 'Logout tokens of the issuer that were obeyed, each once.';
comment on column logout_tokens.jti is 'SHA-256 of the token''s name.';
comment on column logout_tokens.until is 'After that it is refused for its age.';

create index if not exists logout_tokens_until on logout_tokens (until);
