-- The version of all files before this one; an older program refuses the database.
pragma user_version = 13;
