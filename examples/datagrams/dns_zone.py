"""A name server for one zone, which is a dict. It needs dnspython for the messages.

An answer that is too long for the client is truncated between two records, with the TC flag (RFC 2181,
section 9): the client then tries TCP. A datagram that is no DNS query raises, which ends only the work on
that datagram.

    python examples/datagrams/dns_zone.py
    dig @localhost -p 9999 www.example.test
    dig @localhost -p 9999 example.test TXT
"""

import logging
import sys

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

import triosock

ZONE = {
    "example.test.": {"A": ["192.0.2.1"], "TXT": ['"hello from triosock"']},
    "www.example.test.": {"A": ["192.0.2.1", "192.0.2.2"], "AAAA": ["2001:db8::1"]},
    "many.example.test.": {"A": [f"192.0.2.{number}" for number in range(1, 201)]},
}


async def resolve(datagram):
    query = dns.message.from_wire(datagram.data)
    question = query.question[0]
    name, kind = question.name.to_text().lower(), dns.rdatatype.to_text(question.rdtype)
    answer = dns.message.make_response(query)
    answer.flags |= dns.flags.AA
    if name not in ZONE:
        answer.set_rcode(dns.rcode.NXDOMAIN)
    elif kind in ZONE[name]:
        answer.answer.append(dns.rrset.from_text_list(question.name, 300, "IN", kind, ZONE[name][kind]))
    largest = max(512, query.payload) if query.edns >= 0 else 512
    await datagram.reply(answer.to_wire(max_size=largest, prefer_truncation=True))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    port = int(sys.argv[1]) if sys.argv[1:] else 9999
    triosock.run(triosock.serve_udp, resolve, port, host="localhost", name="zone")
