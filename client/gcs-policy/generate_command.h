/* `gcs-policy generate`. */
#ifndef CLIENT_GCS_POLICY_GENERATE_COMMAND_H
#define CLIENT_GCS_POLICY_GENERATE_COMMAND_H

/*
 * Runs the subcommand: argv[0] is its name, as help shall show it. Writes the policy to standard output.
 *
 * Returns an exit status of command.h: EXIT_AS_ASKED, or EXIT_CANNOT_ASK after saying on standard error what
 * failed. Wrong usage ends the program with the latter.
 */
int generate_command(int argc, char **argv);

#endif
