"""OGC API Processes: processes, execution, jobs, results, and updates by external back ends."""
