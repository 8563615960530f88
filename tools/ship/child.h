/*
 * pmta-ship as a child of pmtad, one per [event-sink].
 */
#ifndef PMTA_SHIP_CHILD_H
#define PMTA_SHIP_CHILD_H

int ship_child(int argc, char **argv);

#endif
