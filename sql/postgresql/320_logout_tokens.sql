-- Logout tokens of the issuer that were used: each is accepted once, by whichever process receives it first.
create table if not exists logout_tokens (
    jti   bytea  not null primary key check (length(jti) = 32),
    until bigint not null
);

comment on table logout_tokens is 'Logout tokens of the issuer that were used; each is accepted once.';
comment on column logout_tokens.jti is 'SHA-256 of the token''s id.';
comment on column logout_tokens.until is 'Time of its expiry.';

create index if not exists logout_tokens_until on logout_tokens (until);
