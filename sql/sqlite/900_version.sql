-- The version of all files before this one; a program that knows only lower ones refuses the database.
pragma user_version = 8;
