// Draws docs/deployment.svg: node docs/deployment/picture.mjs > docs/deployment.svg
const box = (x, y, width, title, ...lines) => {
    const text = [title, ...lines].map((line, index) => {
        const weight = index === 0 ? ' font-weight="600"' : ' fill="#57606a"';
        return `<text x="${x + width / 2}" y="${y + 26 + 20 * index}" text-anchor="middle"${weight}>${line}</text>`;
    });
    const height = 20 + 20 * (lines.length + 1);
    return [`<rect x="${x}" y="${y}" width="${width}" height="${height}" rx="6" fill="#fff" stroke="#57606a"/>`, ...text];
};
const arrow = (from, to, label, at, dash = false) => {
    const line = `<path d="M${from} L${to}" stroke="#0969da" fill="none" marker-end="url(#end)"${dash ? ' stroke-dasharray="5 4"' : ""}/>`;
    const [x, y, anchor] = at ?? [];
    return label ? [line, `<text x="${x}" y="${y}" text-anchor="${anchor ?? "middle"}" fill="#0969da">${label}</text>`] : [line];
};
const parts = [
    ...box(20, 120, 120, "Clients", "browsers, apps"),
    ...box(220, 120, 150, "Proxy", "TLS, /health/ready"),
    ...box(450, 40, 170, "hero-teams", "server 1"),
    ...box(450, 200, 170, "hero-teams", "server 2"),
    ...box(740, 40, 170, "PostgreSQL", "primary", "writes, events"),
    ...box(740, 200, 170, "PostgreSQL", "hot standby", "queries"),
    ...arrow("140,150", "216,150"),
    ...arrow("370,140", "446,80"),
    ...arrow("370,160", "446,220"),
    ...arrow("620,70", "736,70", "--database-url", [680, 60]),
    ...arrow("620,220", "736,100"),
    ...arrow("620,85", "736,225"),
    ...arrow("620,245", "736,245", "--read-url", [680, 264]),
    ...arrow("825,120", "825,196", "replication", [835, 164, "start"], true),
];
console.log(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 940 310" font-family="system-ui, sans-serif" font-size="14" role="img" aria-label="Clients reach two servers through a proxy; both write to a primary, and read from a hot standby">
<defs><marker id="end" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto"><path d="M0,0 L10,5 L0,10 z" fill="#0969da"/></marker></defs>
<rect width="940" height="310" fill="#f6f8fa"/>
${parts.join("\n")}
</svg>`);
